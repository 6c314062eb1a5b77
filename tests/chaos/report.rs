//! The results of a run, for people: on standard output, and in the file that `CALLVINE_CHAOS_REPORT` names; the sums
//! of both engines in one beside it, `….totals`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::time::Duration;

use harness::{Provider, Reckoning};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::outage::taken_again;

/// The servers under the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Engine {
    /// Gateways and workers on PostgreSQL and RabbitMQ.
    Distributed,
    /// `up` on SQLite, with in-process delivery.
    Embedded,
}

/// The sums of an engine.
#[derive(Default)]
struct Totals {
    tests: Vec<Reckoning>,
    kills: usize,
    other_faults: usize,
    recoveries: Vec<Duration>,
}

const HEAD: &str = "\
| engine | calls answered 201, all kept | stored, answer lost | events received again | recordings fetched again | kills | other faults of the storms | calls taken again (median, longest) |
| --- | --- | --- | --- | --- | --- | --- | --- |
";

/// Says a line, and adds it to the report.
pub(crate) fn say(line: &str) {
    /// Tests run side by side; lines are whole.
    static REPORT: Mutex<()> = Mutex::new(());
    println!("{line}");
    let Ok(path) = std::env::var("CALLVINE_CHAOS_REPORT") else { return };
    let _whole = REPORT.lock();
    let mut report = OpenOptions::new().append(true).create(true).open(path).unwrap();
    writeln!(report, "{line}").unwrap();
}

/// Says what a test, or a part of one, came to; and counts it.
pub(crate) fn say_reckoning(engine: Engine, test: &str, reckoning: Reckoning) {
    say(&format!("{test}: {reckoning}"));
    count(engine, |totals| totals.tests.push(reckoning));
}

/// Adds to the sums of an engine.
fn count(engine: Engine, add: impl FnOnce(&mut Totals)) {
    static TOTALS: Mutex<BTreeMap<Engine, Totals>> = Mutex::new(BTreeMap::new());
    let mut totals = TOTALS.lock();
    add(totals.entry(engine).or_default());
    let Ok(path) = std::env::var("CALLVINE_CHAOS_REPORT") else { return };
    let rows = totals.iter_mut().map(|(engine, totals)| totals.row(*engine));
    fs::write(format!("{path}.totals"), rows.fold(HEAD.to_owned(), |table, row| table + &row)).unwrap();
}

impl Totals {
    fn row(&mut self, engine: Engine) -> String {
        let sum = |of: fn(&Reckoning) -> usize| self.tests.iter().map(of).sum::<usize>();
        let (calls, lost) = (sum(|test| test.acknowledged), sum(|test| test.unacknowledged_rows));
        let (events, again) =
            (sum(|test| test.events), self.tests.iter().map(|test| test.duplicates).sum::<u32>());
        let fetched_again = sum(|test| test.fetched_again);
        let events = match engine {
            Engine::Distributed => format!("{again} of {events}"),
            Engine::Embedded => "nobody outside receives any".to_owned(),
        };
        let (kills, others) = (self.kills, self.other_faults);
        let mut row =
            format!("| {engine:?} | {calls} | {lost} | {events} | {fetched_again} | {kills} | {others} | ");
        match median_and_longest(&mut self.recoveries) {
            Some((median, longest)) => writeln!(row, "{median:.1?}, {longest:.1?} |").unwrap(),
            None => row.push_str("|\n"),
        }
        row
    }
}

/// How soon calls were taken again after each kind of fault.
pub(crate) struct Recoveries {
    engine: Engine,
    test: &'static str,
    began: Instant,
    after: BTreeMap<String, Vec<Duration>>,
}

impl Recoveries {
    pub(crate) fn new(engine: Engine, test: &'static str) -> Self {
        Self { engine, test, began: Instant::now(), after: BTreeMap::new() }
    }

    /// A fault is over as of now: waits until calls are taken again.
    pub(crate) async fn note(&mut self, fault: &str, provider: &Provider) {
        let took = taken_again(provider).await;
        self.after.entry(fault.to_owned()).or_default().push(took);
        count(self.engine, |totals| {
            totals.recoveries.push(took);
            let is_kill = fault.ends_with("Killed");
            *if is_kill { &mut totals.kills } else { &mut totals.other_faults } += 1;
        });
    }

    /// So many faults so far.
    pub(crate) fn count(&self) -> usize {
        self.after.values().map(Vec::len).sum()
    }

    /// Adds them to the report.
    pub(crate) fn say(mut self) {
        let (test, count, took) = (self.test, self.count(), self.began.elapsed().as_secs());
        say(&format!("{test}: {count} faults in {took} s; calls were taken again after (median, longest):"));
        for (fault, after) in &mut self.after {
            let times = after.len();
            let (median, longest) = median_and_longest(after).expect("there was one");
            say(&format!("{test}:   {fault}, {times} times: {median:.1?}, {longest:.1?}"));
        }
    }
}

fn median_and_longest(durations: &mut [Duration]) -> Option<(Duration, Duration)> {
    durations.sort_unstable();
    Some((*durations.get(durations.len() / 2)?, *durations.last()?))
}
