//! The ratios of each scenario: ours against a yardstick, or a full table against an empty one.

use super::format;
use crate::results::{Measures, Sitting};
use crate::scenario::{ALONE, Scenario};
use crate::spread::{Figure, Term};
use crate::subject::Subject;

/// A figure of one subject, divided by the same figure of another.
struct Ratio {
    figure: (&'static str, Figure),
    upper: Subject,
    lower: Lower,
}

/// The lower side of a ratio.
#[derive(Clone, Copy)]
enum Lower {
    /// Another subject in the same case.
    Beside(Subject),
    /// The best of some subjects that have no connections to vary.
    Alone(&'static str, &'static [Subject]),
    /// The same subject in the first case.
    FirstCase,
}

const ANSWERED: (&str, Figure) = ("calls/s answered", |measures| Some(measures.calls_per_second()));
const SUSTAINED: (&str, Figure) = ("calls/s sustained", Measures::lasting_per_second);
const P50: (&str, Figure) = ("p50", |measures| measures.latency.map(|latency| latency.p50_ms));
const P99: (&str, Figure) = ("p99", |measures| measures.latency.map(|latency| latency.p99_ms));
const FILES: (&str, Figure) = ("files/s", |measures| Some(measures.calls_per_second()));

const THROUGHPUT: [Ratio; 9] = [
    ratio(SUSTAINED, Subject::GatewayConfirmed, Lower::Beside(Subject::NaiveGuarantee)),
    ratio(SUSTAINED, Subject::GatewayConfirmed, Lower::Beside(Subject::PhpAmqp)),
    ratio(SUSTAINED, Subject::GatewayConfirmed, Lower::Alone("RabbitMQ alone", &[Subject::Broker])),
    ratio(ANSWERED, Subject::Gateway, Lower::Beside(Subject::Naive)),
    ratio(ANSWERED, Subject::Gateway, Lower::Beside(Subject::Php)),
    ratio(ANSWERED, Subject::Gateway, Lower::Alone("pgbench, the best of its runs", &Subject::PGBENCH)),
    ratio(ANSWERED, Subject::Gateway, Lower::Beside(Subject::Validate)),
    ratio(ANSWERED, Subject::Gateway, Lower::Beside(Subject::GatewayAsync)),
    ratio(ANSWERED, Subject::Embedded, Lower::Beside(Subject::Gateway)),
];

const RATES: [Ratio; 2] = [
    ratio(P50, Subject::Gateway, Lower::Beside(Subject::Naive)),
    ratio(P99, Subject::Gateway, Lower::Beside(Subject::Naive)),
];

const SIZES: [Ratio; 2] =
    [ratio(ANSWERED, Subject::Gateway, Lower::FirstCase), ratio(P99, Subject::Gateway, Lower::FirstCase)];

const FETCH: [Ratio; 2] = [
    ratio(FILES, Subject::Worker, Lower::Beside(Subject::Curl)),
    ratio(FILES, Subject::EmbeddedWorker, Lower::Beside(Subject::Curl)),
];

const fn ratio(figure: (&'static str, Figure), upper: Subject, lower: Lower) -> Ratio {
    Ratio { figure, upper, lower }
}

/// A row for each ratio, with a column for each case; `None` when nothing of it was measured.
pub(super) fn table(scenario: Scenario, sitting: &Sitting) -> Option<String> {
    let ratios: &[Ratio] = match scenario {
        Scenario::Throughput => &THROUGHPUT,
        Scenario::Rates => &RATES,
        Scenario::Sizes => &SIZES,
        Scenario::Fetch => &FETCH,
        Scenario::Burst | Scenario::Lonely | Scenario::Bodies | Scenario::Bloat => &[],
    };
    let mut cases = sitting.cases();
    cases.retain(|case| *case != ALONE);
    let rows: Vec<String> = ratios.iter().filter_map(|ratio| ratio.row(sitting, &cases)).collect();
    if rows.is_empty() {
        return None;
    }
    let titles: Vec<String> = cases.iter().map(|case| format::case(case)).collect();
    let mut text = format!("| ratio of | upper | lower | {} |\n", titles.join(" | "));
    text += &format!("|---|---|---|{}\n", "--:|".repeat(cases.len()));
    Some(text + &rows.concat())
}

impl Ratio {
    fn row(&self, sitting: &Sitting, cases: &[&str]) -> Option<String> {
        let (name, figure) = self.figure;
        let upper_subject = [self.upper];
        let first = cases.first().copied()?;
        let cell = |case: &&str| {
            let upper = Term { subjects: &upper_subject, case, figure };
            let found = match self.lower {
                Lower::Beside(subject) => sitting.ratio(&upper, &Term { subjects: &[subject], case, figure }),
                Lower::Alone(_, subjects) => sitting.ratio(&upper, &Term { subjects, case: ALONE, figure }),
                Lower::FirstCase if *case == first => None,
                Lower::FirstCase => {
                    sitting.ratio(&upper, &Term { subjects: &upper_subject, case: first, figure })
                }
            };
            found.map(|spread| format::spread(spread, 2) + "x")
        };
        let cells: Vec<Option<String>> = cases.iter().map(cell).collect();
        let lower = match self.lower {
            Lower::Beside(subject) => subject.title().to_owned(),
            Lower::Alone(title, _) => title.to_owned(),
            Lower::FirstCase => format!("the same, {}", format::case(first)),
        };
        let is_measured = cells.iter().any(Option::is_some);
        let cells: Vec<String> = cells.into_iter().map(Option::unwrap_or_default).collect();
        let upper = self.upper.title();
        is_measured.then(|| format!("| {name} | {upper} | {lower} | {} |\n", cells.join(" | ")))
    }
}
