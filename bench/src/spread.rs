//! Medians and ranges over rounds, and ratios within a round.

use crate::results::{Measures, Sitting};
use crate::subject::Subject;

/// The median and the range of a figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of these values; `None` when there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let upper = *values.get(values.len() / 2)?;
        let lower = *values.get((values.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), min, max })
    }
}

/// A figure of a run.
pub(crate) type Figure = fn(&Measures) -> Option<f64>;

impl Sitting {
    /// The cases in the order in which they were measured.
    pub(crate) fn cases(&self) -> Vec<&str> {
        let mut cases: Vec<&str> = Vec::new();
        for run in &self.runs {
            if !cases.contains(&run.case.as_str()) {
                cases.push(&run.case);
            }
        }
        cases
    }

    /// Whether this was measured.
    pub(crate) fn has(&self, subject: Subject, case: &str) -> bool {
        self.runs.iter().any(|run| run.subject == subject && run.case == case)
    }

    /// A figure over the rounds.
    pub(crate) fn spread(&self, subject: Subject, case: &str, figure: Figure) -> Option<Spread> {
        let runs = self.runs.iter().filter(|run| run.subject == subject && run.case == case);
        Spread::of(runs.filter_map(|run| figure(&run.measures)))
    }

    /// A figure of one round; the largest where there are several subjects.
    fn best(&self, subjects: &[Subject], case: &str, round: u32, figure: Figure) -> Option<f64> {
        let runs = self.runs.iter().filter(|run| run.round == round && run.case == case);
        let runs = runs.filter(|run| subjects.contains(&run.subject));
        runs.filter_map(|run| figure(&run.measures)).max_by(f64::total_cmp)
    }

    /// The ratio of two figures, taken in each round by itself: a machine that is slow in one round is slow for both.
    pub(crate) fn ratio(&self, upper: &Term<'_>, lower: &Term<'_>) -> Option<Spread> {
        let of = |term: &Term<'_>, round| self.best(term.subjects, term.case, round, term.figure);
        let ratios = (1..=self.rounds).filter_map(|round| Some(of(upper, round)? / of(lower, round)?));
        Spread::of(ratios.filter(|ratio| ratio.is_finite()))
    }
}

/// One side of a ratio.
pub(crate) struct Term<'a> {
    /// The subject, or several, of which the largest figure of the round counts.
    pub(crate) subjects: &'a [Subject],
    pub(crate) case: &'a str,
    pub(crate) figure: Figure,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Run;

    #[test]
    fn the_median_is_in_the_middle() {
        let spread = Spread::of([3.0, 1.0, 10.0]).unwrap();
        assert_eq!(spread, Spread { median: 3.0, min: 1.0, max: 10.0 });
        assert_eq!(Spread::of([1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn a_ratio_is_taken_in_each_round_by_itself() {
        let run = |subject, round, calls| {
            let measures = Measures { calls, seconds: 1.0, ..Measures::default() };
            Run { subject, case: "64 connections".to_owned(), round, measures }
        };
        // The machine is ten times as slow in the second round, and the third has no yardstick.
        let sitting = Sitting {
            rounds: 3,
            runs: vec![
                run(Subject::Gateway, 1, 6_000),
                run(Subject::Naive, 1, 2_000),
                run(Subject::Gateway, 2, 500),
                run(Subject::Naive, 2, 100),
                run(Subject::NaiveGuarantee, 2, 50),
                run(Subject::Gateway, 3, 9_000),
            ],
            ..Sitting::default()
        };
        let term = |subjects| Term {
            subjects,
            case: "64 connections",
            figure: |measures| Some(measures.calls_per_second()),
        };
        let naive = [Subject::Naive, Subject::NaiveGuarantee];
        let ratio = sitting.ratio(&term(&[Subject::Gateway]), &term(&naive)).unwrap();
        assert_eq!(ratio, Spread { median: 4.0, min: 3.0, max: 5.0 });
    }
}
