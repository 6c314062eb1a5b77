//! The plots of each scenario.

use super::plot::{Bars, Stacks};
use super::{bloat, format, processors};
use crate::results::{Measures, Sitting};
use crate::scenario::Scenario;
use crate::spread::Figure;
use crate::subject::Subject;

/// The plots of a scenario: name and drawing.
pub(super) fn plots(scenario: Scenario, sitting: &Sitting) -> Vec<(&'static str, Option<String>)> {
    let p99: Figure = |measures| measures.latency.map(|latency| latency.p99_ms);
    let p50: Figure = |measures| measures.latency.map(|latency| latency.p50_ms);
    let rate = Measures::lasting_per_second;
    match scenario {
        Scenario::Throughput => vec![
            ("throughput", bars(sitting, "Calls a second, until the last event is confirmed", (rate, 0))),
            ("cpu", processors::plot(sitting)),
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
