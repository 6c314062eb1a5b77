//! The part of the report about an hour of load: some of its samples, as a table and as a plot.

use super::columns::columns;
use super::format;
use super::plot::Stacks;
use crate::results::{Outbox, Run, Sitting};
use crate::scenario::Scenario;

/// Most rows of the table, and most bars of the plot.
const LINES_MAX: usize = 10;

/// Writes the table, and a sentence with the totals.
pub(super) fn table(sitting: &Sitting) -> String {
    let cases: Vec<&str> = shown(sitting).into_iter().map(|run| run.case.as_str()).collect();
    format::table_of(sitting, &cases, columns(Scenario::Bloat)) + &totals(sitting)
}

fn totals(sitting: &Sitting) -> String {
    let calls: u64 = sitting.runs.iter().map(|run| run.measures.calls).sum();
    let outboxes: Vec<Outbox> = sitting.runs.iter().filter_map(|run| run.measures.outbox).collect();
    let Some(last) = outboxes.last() else { return String::new() };
    let most = |of: fn(&Outbox) -> f64| outboxes.iter().map(of).max_by(f64::total_cmp).unwrap_or_default();
    let count = |count: u64| format::number(count as f64, 0);
    format!(
        "\n{} calls were answered 201. By the last sample, {} rows had been written to the database, {} of them to the \
         outbox, and autovacuum had run on it {} times. In {} samples, the table had at most {} KiB, and its indexes at \
         most {} KiB.\n",
        count(calls),
        count(last.rows_written_in_all),
        count(last.rows_written),
        count(last.vacuums),
        sitting.runs.len(),
        format::number(most(Outbox::table_kib), 0),
        format::number(most(Outbox::indexes_kib), 0),
    )
}

/// Plots the size of the outbox over time; `None` when there are no samples.
pub(super) fn plot(sitting: &Sitting) -> Option<String> {
    let row = |run: &&Run| {
        let outbox = run.measures.outbox?;
        Some((format::case(&run.case), vec![outbox.table_kib(), outbox.indexes_kib()]))
    };
    Stacks {
        title: "KiB of the outbox under load",
        parts: vec!["table".to_owned(), "indexes".to_owned()],
        rows: shown(sitting).iter().filter_map(row).collect(),
        digits: 0,
    }
    .svg()
}

/// Samples at equal distances, the last among them.
fn shown(sitting: &Sitting) -> Vec<&Run> {
    let step = sitting.runs.len().div_ceil(LINES_MAX).max(1);
    let mut shown: Vec<&Run> = sitting.runs.iter().rev().step_by(step).collect();
    shown.reverse();
    shown
}
