//! What a run came to, for people: on standard output, and in the file that `CALLVINE_CHAOS_REPORT` names.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Mutex;
use std::time::Duration;

use harness::Provider;
use tokio::time::Instant;

use crate::outage::taken_again;

/// Says a line, and adds it to the report.
pub(crate) fn say(line: &str) {
    /// Tests run side by side; lines are whole.
    static REPORT: Mutex<()> = Mutex::new(());
    println!("{line}");
    let Ok(path) = std::env::var("CALLVINE_CHAOS_REPORT") else { return };
    let _whole = REPORT.lock().unwrap();
    let mut report = OpenOptions::new().append(true).create(true).open(path).unwrap();
    writeln!(report, "{line}").unwrap();
}

/// How soon calls were taken again after each kind of fault.
pub(crate) struct Recoveries {
    test: &'static str,
    began: Instant,
    after: BTreeMap<String, Vec<Duration>>,
}

impl Recoveries {
    pub(crate) fn new(test: &'static str) -> Self {
        Self { test, began: Instant::now(), after: BTreeMap::new() }
    }

    /// A fault is over as of now: waits until calls are taken again.
    pub(crate) async fn note(&mut self, fault: &str, provider: &Provider) {
        let took = taken_again(provider).await;
        self.after.entry(fault.to_owned()).or_default().push(took);
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
            after.sort_unstable();
            let (median, longest) = (after.get(after.len() / 2).unwrap(), after.last().unwrap());
            say(&format!("{test}:   {fault}, {} times: {median:.1?}, {longest:.1?}", after.len()));
        }
    }
}
