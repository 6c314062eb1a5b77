//! What is written about an hour of load: some of its samples, as a table and as a plot.

use super::columns::columns;
use super::format;
use super::plot::Stacks;
use crate::results::{Outbox, Run, Sitting};
use crate::scenario::Scenario;

/// Lines of the table, and bars of the plot, at most.
const LINES_MAX: usize = 10;

/// The table, and how much was written in all.
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
        "\nIn all {} calls were answered 201. At the last look {} rows had been written to the database, of them {} to the \
         outbox, which had been vacuumed {} times. Of all {} samples, the most were {} KiB in the table and {} KiB in its \
         indexes.\n",
        count(calls),
        count(last.rows_written_in_all),
        count(last.rows_written),
        count(last.vacuums),
        sitting.runs.len(),
        format::number(most(Outbox::table_kib), 0),
        format::number(most(Outbox::indexes_kib), 0),
    )
}

/// The size of the outbox over time; `None` when there are no samples.
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

/// Samples as far apart as can be, the last among them.
fn shown(sitting: &Sitting) -> Vec<&Run> {
    let step = sitting.runs.len().div_ceil(LINES_MAX).max(1);
    let mut shown: Vec<&Run> = sitting.runs.iter().rev().step_by(step).collect();
    shown.reverse();
    shown
}
