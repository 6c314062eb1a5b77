//! The goals, and how far the figures are from them.

use super::format;
use crate::results::{Measures, Results, Sitting};
use crate::scenario::{ALONE, FETCH, Scenario};
use crate::spread::{Figure, Spread, Term};
use crate::subject::Subject;

/// One goal in one case.
struct Goal {
    name: &'static str,
    what: String,
    bound: Bound,
    /// Behind the point.
    digits: usize,
    unit: &'static str,
    measured: Option<Spread>,
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// The table of goals.
pub(super) fn table(results: &Results) -> String {
    let mut text =
        String::from("| goal | measure | wanted | measured, median (range) | met |\n|---|---|--:|--:|---|\n");
    for goal in all(results) {
        text += &goal.row();
    }
    text
}

impl Goal {
    fn row(&self) -> String {
        let Self { name, what, bound, digits, unit, measured } = self;
        let (word, wanted) = match bound {
            Bound::AtLeast(wanted) => ("at least", *wanted),
            Bound::AtMost(wanted) => ("at most", *wanted),
        };
        let wanted = format!("{word} {}{unit}", format::number(wanted, *digits));
        let (value, met) = match measured {
            None => ("not measured".to_owned(), ""),
            Some(spread) => (
                format::spread(*spread, *digits) + unit,
                if bound.holds(spread.median) { "yes" } else { "**no**" },
            ),
        };
        format!("| {name} | {what} | {wanted} | {value} | {met} |\n")
    }
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

fn all(results: &Results) -> Vec<Goal> {
    let of = |scenario: Scenario| results.scenarios.get(scenario.name());
    let mut goals = throughput(of(Scenario::Throughput));
    goals.extend(latency(of(Scenario::Rates)));
    goals.extend(memory(of(Scenario::Throughput)));
    goals.extend(sizes(of(Scenario::Sizes)));
    goals.push(burst(of(Scenario::Burst)));
    goals.push(fetch(of(Scenario::Fetch)));
    goals.sort_by_key(|goal| goal.name.get(1..).and_then(|number| number.parse::<u32>().ok()));
    goals
}

/// A ratio of throughput, at 64 and at 256 connections.
struct Ratio {
    name: &'static str,
    what: &'static str,
    upper: Subject,
    lower: &'static [Subject],
    /// Of those below, whether they have no connections to vary.
    is_alone: bool,
    wanted: [f64; 2],
}

const RATIOS: [Ratio; 7] = [
    Ratio {
        name: "G1",
        what: "calls/s sustained, every event confirmed, against the naive gateway with the same guarantee",
        upper: Subject::GatewayConfirmed,
        lower: &[Subject::NaiveGuarantee],
        is_alone: false,
        wanted: [8.0, 10.0],
    },
    Ratio {
        name: "G2",
        what: "calls/s with the broker away, against pgbench's best",
        upper: Subject::Gateway,
        lower: &Subject::PGBENCH,
        is_alone: true,
        wanted: [3.0, 3.5],
    },
    Ratio {
        name: "G3",
        what: "the same, against validating without storing",
        upper: Subject::Gateway,
        lower: &[Subject::Validate],
        is_alone: false,
        wanted: [0.55, 0.65],
    },
    Ratio {
        name: "G4",
        what: "G1's rate, against RabbitMQ alone",
        upper: Subject::GatewayConfirmed,
        lower: &[Subject::Broker],
        is_alone: true,
        wanted: [0.55, 0.55],
    },
    Ratio {
        name: "G5",
        what: "calls/s with the broker away, against nginx, php-fpm and PDO",
        upper: Subject::Gateway,
        lower: &[Subject::Php],
        is_alone: false,
        wanted: [20.0, 20.0],
    },
    Ratio {
        name: "G5",
        what: "calls/s sustained, every event confirmed, against the same with AMQP",
        upper: Subject::GatewayConfirmed,
        lower: &[Subject::PhpAmqp],
        is_alone: false,
        wanted: [30.0, 30.0],
    },
    Ratio {
        name: "G6",
        what: "the embedded default, against PostgreSQL with the broker away",
        upper: Subject::Embedded,
        lower: &[Subject::Gateway],
        is_alone: false,
        wanted: [1.0, 1.0],
    },
];

const CONNECTIONS: [&str; 2] = ["64 connections", "256 connections"];

fn throughput(sitting: Option<&Sitting>) -> Vec<Goal> {
    let mut goals = Vec::new();
    for ratio in RATIOS {
        for (case, wanted) in CONNECTIONS.into_iter().zip(ratio.wanted) {
            let lower_case = if ratio.is_alone { ALONE } else { case };
            // What an embedded program has not delivered after the load is its own affair, later.
            let upper_figure: Figure = match ratio.upper {
                Subject::Embedded => |measures| Some(measures.calls_per_second()),
                _ => Measures::lasting_per_second,
            };
            let upper = Term { subjects: &[ratio.upper], case, figure: upper_figure };
            let lower =
                Term { subjects: ratio.lower, case: lower_case, figure: Measures::lasting_per_second };
            goals.push(Goal {
                name: ratio.name,
                what: format!("{}, {case}", ratio.what),
                bound: Bound::AtLeast(wanted),
                digits: 2,
                unit: "x",
                measured: sitting.and_then(|sitting| sitting.ratio(&upper, &lower)),
            });
        }
    }
    for case in CONNECTIONS {
        let rate: Figure = |measures| Some(measures.calls_per_second());
        let synced = Term { subjects: &[Subject::Gateway], case, figure: rate };
        let unsynced = Term { subjects: &[Subject::GatewayAsync], case, figure: rate };
        let ratio = sitting.and_then(|sitting| sitting.ratio(&synced, &unsynced));
        let cost = |ratio: f64| (1.0 - ratio) * 100.0;
        goals.push(Goal {
            name: "G8",
            what: format!("what syncing each commit costs, {case}"),
            bound: Bound::AtMost(8.0),
            digits: 1,
            unit: " %",
            measured: ratio.map(|ratio| Spread {
                median: cost(ratio.median),
                min: cost(ratio.max),
                max: cost(ratio.min),
            }),
        });
    }
    goals
}

fn latency(sitting: Option<&Sitting>) -> Vec<Goal> {
    let p50: Figure = |measures| measures.latency.map(|latency| latency.p50_ms);
    let p99: Figure = |measures| measures.latency.map(|latency| latency.p99_ms);
    let slow = "1000/s";
    let ours = Term { subjects: &[Subject::Gateway], case: slow, figure: p50 };
    let naive = Term { subjects: &[Subject::Naive], case: slow, figure: p50 };
    let against_naive = Goal {
        name: "G7",
        what: "p50 at 1,000/s, broker away, against the naive gateway's".to_owned(),
        bound: Bound::AtMost(1.0),
        digits: 2,
        unit: "x",
        measured: sitting.and_then(|sitting| sitting.ratio(&ours, &naive)),
    };
    let bounded = |case, shown: &str, wanted| Goal {
        name: "G7",
        what: format!("p99 at {shown}, every event confirmed"),
        bound: Bound::AtMost(wanted),
        digits: 1,
        unit: " ms",
        measured: sitting.and_then(|sitting| sitting.spread(Subject::GatewayConfirmed, case, p99)),
    };
    vec![against_naive, bounded(slow, "1,000/s", 4.0), bounded("10000/s", "10,000/s", 10.0)]
}

fn memory(sitting: Option<&Sitting>) -> Vec<Goal> {
    let peak: Figure = |measures| Some(measures.memory.server_mib);
    let goal = |case: &str, wanted| Goal {
        name: "G10",
        what: format!("memory of the gateway, every event confirmed, {}", format::case(case)),
        bound: Bound::AtMost(wanted),
        digits: 0,
        unit: " MiB",
        measured: sitting.and_then(|sitting| sitting.spread(Subject::GatewayConfirmed, case, peak)),
    };
    vec![goal("256 connections", 48.0), goal("2000 connections", 100.0)]
}

fn sizes(sitting: Option<&Sitting>) -> Vec<Goal> {
    let rate: Figure = |measures| Some(measures.calls_per_second());
    let p99: Figure = |measures| measures.latency.map(|latency| latency.p99_ms);
    let ratio = |figure| {
        let sitting = sitting?;
        let cases = sitting.cases();
        let (empty, full) = (cases.first()?, cases.last()?);
        let term = |case| Term { subjects: &[Subject::Gateway], case, figure };
        (empty != full).then(|| sitting.ratio(&term(full), &term(empty)))?
    };
    let largest = sitting.and_then(|sitting| sitting.cases().last().map(|case| format::case(case)));
    let largest = largest.unwrap_or_else(|| "50,000,000 rows".to_owned());
    let goal = |what: &str, bound, figure| Goal {
        name: "G11",
        what: format!("{what} with {largest} in the table, against an empty one"),
        bound,
        digits: 2,
        unit: "x",
        measured: ratio(figure),
    };
    vec![goal("calls/s", Bound::AtLeast(0.9), rate), goal("p99", Bound::AtMost(1.1), p99)]
}

fn burst(sitting: Option<&Sitting>) -> Goal {
    let case = sitting.and_then(|sitting| sitting.cases().first().map(|case| (*case).to_owned()));
    let case = case.unwrap_or_else(|| "100000 calls".to_owned());
    Goal {
        name: "G12",
        what: format!(
            "burst of {}: until all events are confirmed, against until all are answered",
            format::case(&case)
        ),
        bound: Bound::AtMost(3.0),
        digits: 2,
        unit: "x",
        measured: sitting
            .and_then(|sitting| sitting.spread(Subject::GatewayConfirmed, &case, Measures::settling)),
    }
}

fn fetch(sitting: Option<&Sitting>) -> Goal {
    let rate: Figure = |measures| Some(measures.calls_per_second());
    let ours = Term { subjects: &[Subject::Worker], case: FETCH, figure: rate };
    let curl = Term { subjects: &[Subject::Curl], case: FETCH, figure: rate };
    Goal {
        name: "G9",
        what: "recordings fetched, proved and synced by one worker, against `curl --parallel`".to_owned(),
        bound: Bound::AtLeast(0.95),
        digits: 2,
        unit: "x",
        measured: sitting.and_then(|sitting| sitting.ratio(&ours, &curl)),
    }
}
