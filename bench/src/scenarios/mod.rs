//! What is measured, and in which order: all subjects in turn, and that as often as there are rounds, so that a machine
//! that gets slower in the course of an hour does so for all.

mod bloat;
pub(crate) mod fetch;
mod sizes;

use std::collections::BTreeMap;

use anyhow::Context as _;
use chrono::{SecondsFormat, Utc};
use serde::Serialize;

use self::fetch::Recordings;
use crate::arguments::Arguments;
use crate::bodies::{Bodies, USUAL_BYTES};
use crate::compare::SUBJECTS;
use crate::machine::{self, Machine};
use crate::measure::{self, Load, Plan};
use crate::results::{Run, Sitting};
use crate::say;
use crate::stage::Stage;
use crate::subject::{Kind, Subject};

/// Connections where their number is not what is varied.
const USUAL_CONNECTIONS: u32 = 64;

/// Connections of a burst, and of large tables: many providers' at once.
const MANY_CONNECTIONS: u32 = 256;

/// The case of what has no connections of its own to vary.
pub(crate) const ALONE: &str = "alone";

/// The case of recordings.
pub(crate) const FETCH: &str = "1 MB recordings, 16 at once";
/// The case of large recordings, in which memory counts.
const FETCH_LARGE: &str = "200 MB recordings, 64 at once";

/// More than the naive gateway can answer: it would only show how long its queue gets.
const NAIVE_MAX_RATE: u32 = 5_000;
/// The same with its guarantee.
const NAIVE_GUARANTEE_MAX_RATE: u32 = 1_000;

/// One table of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
pub(crate) enum Scenario {
    /// Every connection busy: calls a second
    Throughput,
    /// A fixed number of calls a second: latency
    Rates,
    /// Many calls at once: until all are answered, and all events confirmed
    Burst,
    /// One call at a time, with pauses: what waiting for company would cost
    Lonely,
    /// Tables that are full already
    Sizes,
    /// Larger calls
    Bodies,
    /// An hour on one instance: whether the outbox stays small
    Bloat,
    /// Recordings fetched, proved and kept
    Fetch,
}

impl Scenario {
    /// All, in the report's order.
    pub(crate) const ALL: [Self; 8] = [
        Self::Throughput,
        Self::Rates,
        Self::Burst,
        Self::Lonely,
        Self::Sizes,
        Self::Bodies,
        Self::Bloat,
        Self::Fetch,
    ];

    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Rates => "rates",
            Self::Burst => "burst",
            Self::Lonely => "lonely",
            Self::Sizes => "sizes",
            Self::Bodies => "bodies",
            Self::Bloat => "bloat",
            Self::Fetch => "fetch",
        }
    }

    fn subjects(self) -> &'static [Subject] {
        match self {
            Self::Throughput => &Subject::ALL,
            Self::Rates | Self::Burst => &[
                Subject::Naive,
                Subject::NaiveGuarantee,
                Subject::Gateway,
                Subject::GatewayConfirmed,
                Subject::GatewayStream,
                Subject::Embedded,
            ],
            Self::Lonely => &[
                Subject::Naive,
                Subject::NaiveGuarantee,
                Subject::Gateway,
                Subject::GatewayConfirmed,
                Subject::Embedded,
            ],
            Self::Sizes => &[Subject::Gateway],
            Self::Bloat => &[bloat::SUBJECT],
            Self::Fetch => &[Subject::Curl, Subject::Worker, Subject::EmbeddedWorker],
            Self::Bodies => &[
                Subject::Validate,
                Subject::Naive,
                Subject::Gateway,
                Subject::GatewayConfirmed,
                Subject::Embedded,
            ],
        }
    }
}

/// One of the values that a scenario varies.
struct Case {
    label: String,
    connections: u32,
    load: Load,
    body_bytes: usize,
    /// Of the table before.
    rows: u64,
}

/// Measures one scenario.
pub(crate) async fn sit(stage: &Stage, scenario: Scenario, arguments: &Arguments) -> anyhow::Result<Sitting> {
    let began_at = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    let commit = machine::commit().await;
    let (runs, rounds, seconds) = if scenario == Scenario::Bloat {
        let (runs, seconds) = bloat::run(stage, arguments).await?;
        (runs, 1, seconds)
    } else {
        (interleaved(stage, scenario, arguments).await?, arguments.rounds, arguments.seconds)
    };
    Ok(Sitting {
        began_at,
        command: Arguments::command(),
        commit,
        machine: Machine::this(&stage.oha.to_string_lossy()).await,
        rounds,
        seconds,
        runs,
    })
}

/// Every case with every subject, and that as often as there are rounds.
async fn interleaved(stage: &Stage, scenario: Scenario, arguments: &Arguments) -> anyhow::Result<Vec<Run>> {
    let cases = cases(scenario, arguments);
    let mut bodies = BTreeMap::new();
    for case in &cases {
        bodies.insert(case.body_bytes, Bodies::write(case.body_bytes, &stage.directory)?);
    }
    let full = sizes::fill(stage, cases.iter().map(|case| case.rows)).await?;
    let mut runs = Vec::new();
    for round in 1..=arguments.rounds {
        for case in &cases {
            for subject in scenario.subjects().iter().filter(|subject| arguments.only.contains(subject)) {
                if !is_wanted(*subject, case) {
                    continue;
                }
                let plan = Plan {
                    subject: *subject,
                    load: case.load,
                    connections: case.connections,
                    bodies: bodies.get(&case.body_bytes).context("no calls of that size")?,
                    warm_up_seconds: arguments.warm_up,
                    full: full.get(&case.rows).map(String::as_str),
                };
                let measures = measure::run(stage, &plan).await?;
                let run = Run { subject: *subject, case: case.label.clone(), round, measures };
                say::run(&run);
                runs.push(run);
            }
        }
    }
    sizes::remove(stage, full).await?;
    Ok(runs)
}

/// Whether calls come at a rate there, which takes oha.
pub(crate) fn need_oha(scenario: Scenario, arguments: &Arguments) -> bool {
    scenario == Scenario::Rates || scenario == Scenario::Bloat && arguments.bloat_rate > 0
}

/// Whether anything of what is wanted talks to RabbitMQ.
pub(crate) fn need_broker(arguments: &Arguments) -> bool {
    if arguments.against.is_some() {
        return SUBJECTS
            .into_iter()
            .any(|subject| subject.needs_broker() && arguments.only.contains(&subject));
    }
    let subjects = arguments.scenarios.iter().flat_map(|scenario| scenario.subjects());
    subjects.filter(|subject| arguments.only.contains(subject)).any(|subject| subject.needs_broker())
}

/// What makes no sense, or nothing new, is left out.
fn is_wanted(subject: Subject, case: &Case) -> bool {
    let is_suited = match subject.kind() {
        Kind::Http => case.label != ALONE && !matches!(case.load, Load::Fetch(_)),
        Kind::Pgbench { .. } | Kind::Broker => case.label == ALONE,
        Kind::Fetch => matches!(case.load, Load::Fetch(_)),
    };
    if !is_suited {
        return false;
    }
    match (case.load, subject) {
        // Memory is what counts there, and curl's is nobody's business.
        (Load::Fetch(_), Subject::Curl) => case.label == FETCH,
        (Load::Rate { calls_per_second, .. }, Subject::Naive) => calls_per_second <= NAIVE_MAX_RATE,
        (Load::Rate { calls_per_second, .. }, Subject::NaiveGuarantee) => {
            calls_per_second <= NAIVE_GUARANTEE_MAX_RATE
        }
        _ => true,
    }
}

fn cases(scenario: Scenario, arguments: &Arguments) -> Vec<Case> {
    let busy = Load::Busy { seconds: arguments.seconds };
    let usual = |label: String, load| Case {
        label,
        connections: USUAL_CONNECTIONS,
        load,
        body_bytes: USUAL_BYTES,
        rows: 0,
    };
    match scenario {
        Scenario::Throughput => {
            let busy_with = |connections: &u32| Case {
                connections: *connections,
                ..usual(format!("{connections} connections"), busy)
            };
            let alone = usual(ALONE.to_owned(), busy);
            std::iter::once(alone).chain(arguments.connections.iter().map(busy_with)).collect()
        }
        Scenario::Rates => {
            let rates = arguments.rates.iter();
            let load = |rate: &u32| Load::Rate { calls_per_second: *rate, seconds: arguments.seconds };
            rates.map(|rate| usual(format!("{rate}/s"), load(rate))).collect()
        }
        Scenario::Burst => {
            let load = Load::Burst { calls: arguments.burst };
            let case = usual(format!("{} calls", arguments.burst), load);
            vec![Case { connections: MANY_CONNECTIONS, ..case }]
        }
        Scenario::Lonely => {
            vec![Case {
                connections: 1,
                ..usual("20 ms apart".to_owned(), Load::Lonely { calls: arguments.lonely })
            }]
        }
        Scenario::Sizes => {
            let full = |rows: &u64| Case {
                connections: MANY_CONNECTIONS,
                rows: *rows,
                ..usual(format!("{rows} rows"), busy)
            };
            arguments.rows.iter().map(full).collect()
        }
        Scenario::Bodies => {
            let of_size =
                |bytes: &usize| Case { body_bytes: *bytes, ..usual(format!("{bytes} bytes"), busy) };
            arguments.bodies.iter().map(of_size).collect()
        }
        // It has samples instead.
        Scenario::Bloat => Vec::new(),
        Scenario::Fetch => {
            let fetch = |label: &str, count: u32, sound_seconds, at_once| {
                let count = count.next_multiple_of(fetch::POSTING);
                usual(label.to_owned(), Load::Fetch(Recordings { count, sound_seconds, at_once }))
            };
            let mut cases = vec![fetch(FETCH, arguments.recordings, fetch::USUAL_SECONDS, 16)];
            if arguments.large_recordings > 0 {
                cases.push(fetch(FETCH_LARGE, arguments.large_recordings, fetch::LARGE_SECONDS, 64));
            }
            cases
        }
    }
}
