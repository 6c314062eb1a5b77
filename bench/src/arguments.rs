//! The command line. Each option has a default, so `make bench` alone measures everything.

use std::path::PathBuf;

use crate::scenario::Scenario;
use crate::subject::Subject;

/// Minutes of a day.
const MINUTES_MAX: i64 = 24 * 60;

/// Measures Callvine on private servers, against its ceilings, the naive gateway and PHP; writes report.md, its plots
/// and the raw results
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "callvine-bench", max_term_width = 100)]
pub(crate) struct Arguments {
    /// Scenarios to measure; the report keeps the last results of the others
    #[arg(
        long = "scenario",
        value_name = "NAME",
        value_enum,
        value_delimiter = ',',
        default_values_t = Scenario::ALL
    )]
    pub(crate) scenarios: Vec<Scenario>,

    /// Subjects to measure; each scenario has some of them
    #[arg(long, value_name = "SUBJECT", value_enum, value_delimiter = ',', default_values_t = Subject::ALL)]
    pub(crate) only: Vec<Subject>,

    /// Connections under full load (`throughput`, and with `--against`)
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [64, 256, 2000])]
    pub(crate) connections: Vec<u32>,

    /// Calls a second (`rates`)
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1_000, 5_000, 10_000])]
    pub(crate) rates: Vec<u32>,

    /// Calls of a burst (`burst`)
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) burst: u32,

    /// Calls, one at a time and 20 ms apart (`lonely`)
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub(crate) lonely: u32,

    /// Recordings of 1 MB to fetch (`fetch`)
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub(crate) recordings: u32,

    /// Recordings of 200 MB to fetch, all at once (`fetch`); each needs 200 MB of disk; 0 for none
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) large_recordings: u32,

    /// Rows of the tables before the first call (`sizes`); a row takes about 350 bytes of disk
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [0, 10_000_000, 50_000_000])]
    pub(crate) rows: Vec<u64>,

    /// Sizes of calls in bytes (`bodies`); the usual call has 308
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_values_t = [308, 1_024, 10_240])]
    pub(crate) bodies: Vec<usize>,

    /// Minutes of load on one instance (`bloat`); it is sampled every minute, but 60 times at most
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=MINUTES_MAX))]
    pub(crate) minutes: u32,

    /// Calls a second (`bloat`), a rate that the relay keeps up with; 0 for full load
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) bloat_rate: u32,

    /// Repetitions of each scenario, interleaved: A B C A B C
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// Seconds of each run
    #[arg(long, value_name = "S", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) seconds: u32,

    /// Seconds of full load before each run, which are not counted
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) warm_up: u32,

    /// Another build of the program: both take turns of `--seconds` under full load, `--rounds` times, in each set-up
    /// of
    /// `--only` with each of `--connections`. Prints ratios and writes no report. Twelve rounds of a second show a
    /// difference of 3 %
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scenarios", "quick"])]
    pub(crate) against: Option<PathBuf>,

    /// Gives each post to this build an `Idempotency-Key` of its own, and each to the other one a header that means
    /// nothing: `--against` the same file, it shows the cost of such keys
    #[arg(long, requires = "against")]
    pub(crate) keyed: bool,

    /// A short run of everything, which only shows that the benchmark works
    #[arg(long, conflicts_with_all = ["connections", "rates", "burst", "lonely", "recordings", "large_recordings", "rows", "minutes", "bloat_rate", "rounds", "seconds", "warm_up"])]
    pub(crate) quick: bool,

    /// The report's folder [default: `bench` in Cargo's target directory; with --quick, `bench-quick`]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,

    /// The program under test
    #[arg(long, value_name = "FILE", env = "CALLVINE_BIN", default_value = "target/dist/callvine")]
    pub(crate) callvine: PathBuf,
}

impl Arguments {
    /// The arguments of a short run, when `--quick` is given.
    pub(crate) fn in_little(self) -> Self {
        if !self.quick {
            return self;
        }
        Self {
            connections: vec![16],
            rates: vec![200],
            burst: 2_000,
            lonely: 20,
            recordings: 64,
            large_recordings: 0,
            rows: vec![0, 10_000],
            bodies: vec![10_240],
            // Full load needs wrk, which is always installed; a rate needs oha, which may not be.
            bloat_rate: 0,
            rounds: 1,
            seconds: 1,
            warm_up: 0,
            ..self
        }
    }

    /// The command that measures the same again.
    pub(crate) fn command() -> String {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        if arguments.is_empty() {
            "make bench".to_owned()
        } else {
            format!("make bench ARGS=\"{}\"", arguments.join(" "))
        }
    }
}
