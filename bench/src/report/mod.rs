//! The report: performance.md and its plots, written from the JSON file, so that what was measured at another time stays
//! in it with its own date and command.

mod bloat;
mod format;
mod goals;
mod plot;

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use self::format::Column;
use self::plot::{Bars, Stacks};
use crate::results::{Measures, Results, Sitting};
use crate::scenarios::Scenario;
use crate::spread::Figure;
use crate::subject::Subject;

/// The folder of JSON file and plots, beside performance.md.
pub(crate) const FOLDER: &str = "performance";

/// The JSON file in that folder.
pub(crate) const RESULTS: &str = "results.json";

const INTRODUCTION: &str = include_str!("introduction.md");

const RATE: Column = Column::range("answered/s", 0, |measures| Some(measures.calls_per_second()));
const SUSTAINED: Column = Column::range("sustained/s", 0, Measures::sustained_per_second);
const CONFIRMED: Column = Column::median("confirmed/s meanwhile", 0, Measures::confirmed_per_second);
const P50: Column = Column::median("p50 ms", 2, |measures| measures.latency.map(|latency| latency.p50_ms));
const P99: Column = Column::range("p99 ms", 2, |measures| measures.latency.map(|latency| latency.p99_ms));
const P999: Column =
    Column::median("p99.9 ms", 2, |measures| measures.latency.map(|latency| latency.p999_ms));
const MAX: Column = Column::median("max ms", 1, |measures| measures.latency.map(|latency| latency.max_ms));
const DRAIN: Column =
    Column::median("drain s", 2, |measures| measures.confirms.map(|confirms| confirms.drain_seconds));
const LEFT: Column =
    Column::median("never confirmed", 0, |measures| measures.confirms.map(|confirms| confirms.left as f64));
const SERVER: Column = Column::median("server µs", 1, |measures| Some(measures.cpu.server_us));
const POSTGRES: Column = Column::median("PostgreSQL µs", 1, |measures| Some(measures.cpu.postgres_us));
const RABBITMQ: Column = Column::median("RabbitMQ µs", 1, |measures| Some(measures.cpu.rabbitmq_us));
const LOAD: Column = Column::median("load µs", 1, |measures| Some(measures.cpu.load_us));
const OTHER: Column = Column::median("kernel and other µs", 1, |measures| Some(measures.other_us()));
const BUSY: Column = Column::median("cores busy", 2, |measures| Some(measures.cpu.busy_cores));
const MEMORY: Column = Column::median("server MiB", 0, |measures| Some(measures.memory.server_mib));
const FAILURES: Column = Column::median("failures", 0, |measures| Some(measures.failures as f64));
const SECONDS: Column = Column::range("all answered, s", 2, |measures| Some(measures.seconds));
const SETTLED: Column =
    Column::range("all confirmed, s", 2, |measures| Some(measures.seconds * measures.settling()?));

const FETCHED: Column = Column::range("files/s", 1, |measures| Some(measures.calls_per_second()));

/// Writes performance.md and the plots.
pub(crate) fn write(results: &Results, folder: &Path) -> anyhow::Result<()> {
    let mut text = String::from(INTRODUCTION);
    text += "\n## Goals\n\n";
    text += &goals::table(results);
    for scenario in Scenario::ALL {
        if let Some(sitting) = results.scenarios.get(scenario.name()) {
            text += &section(scenario, sitting, folder)?;
        }
    }
    let file = folder.join("performance.md");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// The goals, for who has waited.
pub(crate) fn summary(results: &Results) -> String {
    goals::table(results)
}

fn section(scenario: Scenario, sitting: &Sitting, folder: &Path) -> anyhow::Result<String> {
    let (title, about) = heading(scenario);
    let mut text = format!("\n## {title}\n\n{about}\n\n{}\n", conditions(sitting));
    for (name, svg) in plots(scenario, sitting) {
        let Some(svg) = svg else { continue };
        let file = folder.join(FOLDER).join(format!("{name}.svg"));
        fs::write(&file, svg).with_context(|| format!("cannot write {}", file.display()))?;
        text += &format!("![{title}]({FOLDER}/{name}.svg)\n\n");
    }
    text += &match scenario {
        Scenario::Bloat => bloat::table(sitting),
        _ => format::table(sitting, columns(scenario)),
    };
    if scenario == Scenario::Throughput {
        text += "\nMicroseconds of processor time a call, from the first request to the last confirm:\n\n";
        text += &format::table(sitting, &[SERVER, POSTGRES, RABBITMQ, LOAD, OTHER, BUSY]);
        text += "\n### What binds\n\n";
        text += &what_binds(sitting);
    }
    Ok(text)
}

fn heading(scenario: Scenario) -> (&'static str, &'static str) {
    match scenario {
        Scenario::Throughput => (
            "Throughput",
            "Every connection sends its next call as soon as the last was answered. *Sustained* counts the time until \
             the last event was confirmed: it is the rate that could go on for ever.",
        ),
        Scenario::Rates => (
            "Latency at fixed rates",
            "Calls come at a rate, over 64 connections, whatever was answered; latency counts from when a call was \
             due. The naive gateway is left out above what it can answer.",
        ),
        Scenario::Burst => (
            "A burst",
            "Many calls at once over 256 connections: until all are answered, and until all their events are confirmed.",
        ),
        Scenario::Lonely => (
            "Lonely calls",
            "One call at a time with a pause between two: a call that comes alone must not wait for company.",
        ),
        Scenario::Sizes => (
            "Full tables",
            "`call_logs` and `recordings` have these many rows before the first call; 256 connections, broker away.",
        ),
        Scenario::Bodies => (
            "Larger calls",
            "64 connections. A call of 1 KB has a longer recording URL, one of 10 KB also a field of the provider's own, \
             which is read and ignored.",
        ),
        Scenario::Bloat => (
            "An hour",
            "Calls come at a rate (or, with `--bloat-rate 0`, as fast as they are answered) over 64 connections to one \
             gateway, for as long as it says on the left. Every event is confirmed, and its row leaves the outbox \
             again; the queue is emptied between two samples, as a worker would. Sizes, rows and events are those of \
             the outbox half a second before a sample ends, under load; answers and latency are those of that sample \
             alone, and at a rate latency counts from when a call was due.",
        ),
        Scenario::Fetch => (
            "Recordings",
            "8 kHz A-law of 1 MB from one nginx on this machine, 16 at once, from the first call posted to the last \
             recording kept: fetched, hashed, decoded to its last sample and synced, with all that the database and the \
             queues have to do with it. curl writes the same files, and neither hashes, looks into nor syncs them. \
             Microseconds are of processor time a recording; nginx is among the other.",
        ),
    }
}

fn columns(scenario: Scenario) -> &'static [Column] {
    match scenario {
        Scenario::Throughput => &[RATE, SUSTAINED, CONFIRMED, DRAIN, LEFT, P50, P99, MEMORY, FAILURES],
        Scenario::Rates => &[RATE, P50, P99, P999, MAX, BUSY, FAILURES],
        Scenario::Burst => &[SECONDS, SETTLED, RATE, P50, P99, MAX, FAILURES],
        Scenario::Lonely => &[P50, P99, MAX, FAILURES],
        Scenario::Sizes => &[RATE, P50, P99, POSTGRES, FAILURES],
        Scenario::Bodies => &[RATE, SUSTAINED, P50, P99, SERVER, POSTGRES, RABBITMQ, FAILURES],
        Scenario::Bloat => bloat::COLUMNS,
        Scenario::Fetch => &[FETCHED, SERVER, POSTGRES, RABBITMQ, LOAD, OTHER, BUSY, MEMORY],
    }
}

fn conditions(sitting: &Sitting) -> String {
    let Sitting { began_at, command, commit, machine, rounds, seconds, runs } = sitting;
    let versions = machine.versions.iter().map(|(name, version)| format!("{name} {version}"));
    let versions: Vec<String> = versions.collect();
    let stolen = runs.iter().map(|run| run.measures.cpu.stolen).max_by(f64::total_cmp).unwrap_or_default();
    format!(
        "{began_at}, commit {commit}, `{command}`; rounds: {rounds}; {seconds} s a run. {} cores of {}, {:.0} GiB, {}; {}. \
         At most {:.1} % of a run's time went to other machines on the host.\n",
        machine.cores,
        machine.processor,
        machine.memory_gib,
        machine.kernel,
        versions.join(", "),
        stolen * 100.0,
    )
}

fn plots(scenario: Scenario, sitting: &Sitting) -> Vec<(&'static str, Option<String>)> {
    let p99: Figure = |measures| measures.latency.map(|latency| latency.p99_ms);
    let p50: Figure = |measures| measures.latency.map(|latency| latency.p50_ms);
    let rate = Measures::lasting_per_second;
    match scenario {
        Scenario::Throughput => vec![
            ("throughput", bars(sitting, "Calls a second, until the last event is confirmed", (rate, 0))),
            ("cpu", cpu(sitting)),
        ],
        Scenario::Rates => vec![("latency", bars(sitting, "p99 in milliseconds at fixed rates", (p99, 1)))],
        Scenario::Burst => vec![("burst", burst(sitting))],
        Scenario::Lonely => vec![("lonely", bars(sitting, "p50 in milliseconds of lonely calls", (p50, 2)))],
        Scenario::Sizes => vec![("sizes", bars(sitting, "Calls a second into full tables", (rate, 0)))],
        Scenario::Bodies => {
            vec![("bodies", bars(sitting, "Calls a second, until the last event is confirmed", (rate, 0)))]
        }
        Scenario::Bloat => vec![("bloat", bloat::plot(sitting))],
        Scenario::Fetch => vec![("fetch", bars(sitting, "Recordings of 1 MB a second", (rate, 0)))],
    }
}

fn bars(sitting: &Sitting, title: &str, (figure, digits): (Figure, usize)) -> Option<String> {
    let cases = sitting.cases();
    let measured = |subject: &Subject| cases.iter().any(|case| sitting.has(*subject, case));
    let of = |subject: Subject| cases.iter().map(|case| sitting.spread(subject, case, figure)).collect();
    let groups = Subject::ALL.into_iter().filter(measured);
    Bars {
        title,
        series: cases.iter().map(|case| format::case(case)).collect(),
        groups: groups.map(|subject| (subject.title().to_owned(), of(subject))).collect(),
        digits,
    }
    .svg()
}

/// Whose processor time a call takes, with as many connections as were measured up to 256.
fn cpu(sitting: &Sitting) -> Option<String> {
    let case = usual_case(sitting)?;
    let figures: [(&str, Figure); 5] = [
        ("server", |measures| Some(measures.cpu.server_us)),
        ("PostgreSQL", |measures| Some(measures.cpu.postgres_us)),
        ("RabbitMQ", |measures| Some(measures.cpu.rabbitmq_us)),
        ("load", |measures| Some(measures.cpu.load_us)),
        ("kernel and other", |measures| Some(measures.other_us())),
    ];
    let median = |subject, figure| sitting.spread(subject, case, figure).map_or(0.0, |spread| spread.median);
    let row = |subject: Subject| {
        let values = figures.iter().map(|(_, figure)| median(subject, *figure)).collect();
        (subject.title().to_owned(), values)
    };
    Stacks {
        title: &format!("Microseconds of processor time a call, {}", format::case(case)),
        parts: figures.iter().map(|(name, _)| (*name).to_owned()).collect(),
        rows: Subject::ALL.into_iter().filter(|subject| sitting.has(*subject, case)).map(row).collect(),
        digits: 1,
    }
    .svg()
}

fn burst(sitting: &Sitting) -> Option<String> {
    let cases = sitting.cases();
    let case = cases.first()?;
    let answered: Figure = |measures| Some(measures.seconds);
    let rest: Figure = |measures| measures.confirms.map(|confirms| confirms.drain_seconds);
    let median = |subject, figure| sitting.spread(subject, case, figure).map_or(0.0, |spread| spread.median);
    let row = |subject: Subject| {
        (subject.title().to_owned(), vec![median(subject, answered), median(subject, rest)])
    };
    Stacks {
        title: &format!("Seconds for a burst of {}", format::case(case)),
        parts: vec!["until all answered".to_owned(), "until all confirmed".to_owned()],
        rows: Subject::ALL.into_iter().filter(|subject| sitting.has(*subject, case)).map(row).collect(),
        digits: 2,
    }
    .svg()
}

/// The case with 256 connections, or the last but that.
fn usual_case(sitting: &Sitting) -> Option<&str> {
    let cases = sitting.cases();
    cases.iter().find(|case| case.starts_with("256 ")).or(cases.last()).copied()
}

fn what_binds(sitting: &Sitting) -> String {
    let Some(case) = usual_case(sitting) else {
        return String::new();
    };
    let cores = sitting.machine.cores as f64;
    let mut text = String::new();
    for subject in Subject::ALL.into_iter().filter(|subject| sitting.has(*subject, case)) {
        let median =
            |figure: Figure| sitting.spread(subject, case, figure).map_or(0.0, |spread| spread.median);
        let takers: [(&str, f64); 4] = [
            ("the server", median(|measures| Some(measures.cpu.server_us))),
            ("PostgreSQL", median(|measures| Some(measures.cpu.postgres_us))),
            ("RabbitMQ", median(|measures| Some(measures.cpu.rabbitmq_us))),
            ("the load generator", median(|measures| Some(measures.cpu.load_us))),
        ];
        let busy = median(|measures| Some(measures.cpu.busy_cores));
        let whole = median(|measures| Some(measures.cpu.machine_us));
        let Some((most, its)) = takers.into_iter().max_by(|one, other| one.1.total_cmp(&other.1)) else {
            continue;
        };
        let verdict =
            if busy > 0.9 * cores { "the processors bind" } else { "waiting binds, not the processors" };
        text += &format!(
            "- {}, {}: {verdict} ({busy:.2} of {cores:.0} busy); {most} takes the most, {its:.1} of {whole:.1} µs a call.\n",
            subject.title(),
            format::case(case),
        );
    }
    text
}
