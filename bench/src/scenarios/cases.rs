//! The cases of each scenario, and which subjects are left out of them.

use crate::arguments::Arguments;
use crate::bodies::USUAL_BYTES;
use crate::fetch::{self, Recordings};
use crate::measure::Load;
use crate::scenario::{ALONE, FETCH, FETCH_LARGE, Scenario};
use crate::subject::{Kind, Subject};

/// Connections where their number is not varied.
pub(super) const USUAL_CONNECTIONS: u32 = 64;

/// Connections of a burst and of full tables, as of many providers at once.
const MANY_CONNECTIONS: u32 = 256;

/// Highest rate of the naive gateway: above what it answers, the figure would only show the length of its queue.
const NAIVE_MAX_RATE: u32 = 5_000;
/// Highest rate of the naive gateway with the same guarantee.
const NAIVE_GUARANTEE_MAX_RATE: u32 = 1_000;

/// One of the values that a scenario varies.
pub(super) struct Case {
    pub(super) label: String,
    pub(super) connections: u32,
    pub(super) work: Work,
    pub(super) body_bytes: usize,
    /// Rows of the tables before the first call.
    pub(super) rows: u64,
}

/// The work of a subject in a case.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// It answers calls.
    Calls(Load),
    /// It fetches recordings.
    Recordings(Recordings),
}

/// Whether a subject is measured in a case; it is not where that makes no sense or shows nothing new.
pub(super) fn is_wanted(subject: Subject, case: &Case) -> bool {
    let is_suited = match subject.kind() {
        Kind::Http => case.label != ALONE && matches!(case.work, Work::Calls(_)),
        Kind::Pgbench { .. } | Kind::Broker => case.label == ALONE,
        Kind::Fetch => matches!(case.work, Work::Recordings(_)),
    };
    if !is_suited {
        return false;
    }
    match (case.work, subject) {
        // Large recordings measure memory, and curl's does not matter.
        (Work::Recordings(_), Subject::Curl) => case.label == FETCH,
        (Work::Calls(Load::Rate { calls_per_second, .. }), Subject::Naive) => {
            calls_per_second <= NAIVE_MAX_RATE
        }
        (Work::Calls(Load::Rate { calls_per_second, .. }), Subject::NaiveGuarantee) => {
            calls_per_second <= NAIVE_GUARANTEE_MAX_RATE
        }
        _ => true,
    }
}

/// The cases of a scenario.
pub(super) fn cases(scenario: Scenario, arguments: &Arguments) -> Vec<Case> {
    let busy = Load::Busy { seconds: arguments.seconds };
    let of = |label: String, work| Case {
        label,
        connections: USUAL_CONNECTIONS,
        work,
        body_bytes: USUAL_BYTES,
        rows: 0,
    };
    let usual = |label: String, load| of(label, Work::Calls(load));
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
        // It has samples instead of cases.
        Scenario::Bloat => Vec::new(),
        Scenario::Fetch => {
            let fetch = |label: &str, count: u32, sound_seconds, at_once| {
                let count = count.next_multiple_of(fetch::POSTING);
                of(label.to_owned(), Work::Recordings(Recordings { count, sound_seconds, at_once }))
            };
            let mut cases = vec![fetch(FETCH, arguments.recordings, fetch::USUAL_SECONDS, 16)];
            if arguments.large_recordings > 0 {
                cases.push(fetch(FETCH_LARGE, arguments.large_recordings, fetch::LARGE_SECONDS, 64));
            }
            cases
        }
    }
}
