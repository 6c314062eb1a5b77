//! What an audit finds, and how it says so: a line a problem, as it is found, and a summary.

use std::io::Write;

use anyhow::Context;
use callvine_shared::call::CallId;
use serde::Serialize;

use crate::failure::Failure;

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Problem {
    /// An event lies in the outbox, due and unpublished.
    EventStuck,
    /// An event lies in the outbox and is put off for longer than anything is put off.
    EventPostponed,
    /// An event is about a call that doesn't exist.
    EventWithoutCall,
    /// A call has no row in `recordings`.
    RecordingMissing,
    /// A pending recording that nobody will fetch.
    RecordingStuck,
    /// A stored recording has no row in `analyses`.
    AnalysisMissing,
    /// A requested analysis that nobody will make.
    AnalysisStuck,
    /// A given-up recording is not among the dead letters.
    DeadLetterMissing,
    /// A stored recording has no object.
    ObjectMissing,
    /// An object is not as large as its recording was.
    ObjectSize,
    /// An object has other bytes than its recording had.
    ObjectContent,
    /// A stored recording lies in another place than the one that is audited.
    ObjectElsewhere,
    /// An object belongs to no recording.
    ObjectOrphan,
    /// There are stored recordings, and no place or an empty one.
    PlaceMissing,
    /// The broker can't be asked.
    BrokerUnreachable,
    /// The broker doesn't have a queue of ours.
    QueueMissing,
}

/// One problem.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    problem: Problem,
    call_id: Option<i64>,
    object: Option<String>,
    detail: String,
    /// Whether it was queued again.
    repaired: bool,
}

impl Finding {
    /// A problem of a call.
    pub(super) fn of_call(problem: Problem, call_id: CallId, detail: impl Into<String>) -> Self {
        Self { problem, call_id: Some(call_id.0), object: None, detail: detail.into(), repaired: false }
    }

    /// A problem of the whole.
    pub(super) fn of_all(problem: Problem, detail: impl Into<String>) -> Self {
        Self { problem, call_id: None, object: None, detail: detail.into(), repaired: false }
    }

    /// Names the object, as a URL.
    pub(super) fn object(mut self, location: &str) -> Self {
        self.object = Some(location.to_owned());
        self
    }
}

/// What was counted.
#[derive(Debug, Default, Serialize)]
pub(super) struct Counts {
    /// Calls of the window.
    pub(super) calls: u64,
    /// Recordings of the window by their state.
    pub(super) pending: u64,
    /// See `pending`.
    pub(super) stored: u64,
    /// See `pending`.
    pub(super) failed: u64,
    /// Objects of the window that were compared with their recordings.
    pub(super) objects: u64,
    /// Messages in the outbox, of whatever window.
    pub(super) in_outbox: u64,
    /// Messages in the queues, of whatever window, the dead letters excepted.
    pub(super) in_queues: u64,
    /// Dead letters in their queues, of whatever window.
    pub(super) dead_letters: u64,
    problems: u64,
    repaired: u64,
}

/// Prints what is found.
pub(super) struct Report {
    json: bool,
    repair: bool,
    /// What was counted so far.
    pub(super) counts: Counts,
}

impl Report {
    pub(super) fn new(json: bool, repair: bool) -> Self {
        Self { json, repair, counts: Counts::default() }
    }

    /// Whether problems are to be repaired.
    pub(super) fn repairs(&self) -> bool {
        self.repair
    }

    /// A problem that can't be repaired by queueing something.
    pub(super) fn found(&mut self, finding: &Finding) -> Result<(), Failure> {
        self.counts.problems += 1;
        let Finding { problem, call_id, object, detail, repaired } = finding;
        if self.json {
            return print(finding);
        }
        let name = serde_json::to_string(problem).unwrap_or_default();
        let call = call_id.map_or_else(String::new, |id| format!("call {id}: "));
        let object = object.as_deref().map_or_else(String::new, |object| format!(" ({object})"));
        let repaired = if *repaired { "; queued again" } else { "" };
        line(&format!("{call}{}: {detail}{object}{repaired}", name.trim_matches('"')))
    }

    /// A problem that was repaired, if `repaired`.
    pub(super) fn found_and(&mut self, mut finding: Finding, repaired: bool) -> Result<(), Failure> {
        finding.repaired = repaired;
        self.counts.repaired += u64::from(repaired);
        self.found(&finding)
    }

    /// Prints the summary; returns how many problems there were.
    pub(super) fn finish(self) -> Result<u64, Failure> {
        #[derive(Serialize)]
        struct Summary<'a> {
            summary: &'a Counts,
        }
        let counts = &self.counts;
        if self.json {
            print(&Summary { summary: counts })?;
        } else {
            line(&format!(
                "{} {}: {} recordings pending, {} stored, {} failed; {} objects compared",
                counts.calls,
                plural(counts.calls, "call"),
                counts.pending,
                counts.stored,
                counts.failed,
                counts.objects,
            ))?;
            line(&format!(
                "on their way: {} in the outbox, {} in queues; {} dead letters",
                counts.in_outbox, counts.in_queues, counts.dead_letters,
            ))?;
            match (counts.problems, counts.repaired) {
                (0, _) => line("nothing is wrong")?,
                (problems, repaired) => {
                    line(&format!("{problems} {}, {repaired} queued again", plural(problems, "problem")))?;
                }
            }
        }
        Ok(counts.problems)
    }
}

/// `problem` or `problems`.
pub(super) fn plural(count: u64, noun: &str) -> String {
    if count == 1 { noun.to_owned() } else { format!("{noun}s") }
}

fn print(object: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string(object).context("cannot write JSON")?)
}

/// Not `println!`, which panics when the reader has left.
fn line(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{text}").context("cannot print")?)
}
