//! The findings of an audit, as they are reported and counted.

use std::io;

use callvine_shared::call::CallId;
use callvine_shared::store::{DeadLetterId, DeadLetterKind};
use serde::Serialize;

use super::{AuditError, Scope};
use crate::requeue::requeue;

/// A kind of problem, by its published name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// An event lies in the outbox, due and unpublished.
    EventStuck,
    /// An event lies in the outbox and is postponed for longer than anything is.
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
    /// A stored recording lies elsewhere than in the location that is audited.
    ObjectElsewhere,
    /// An object belongs to no recording.
    ObjectOrphan,
    /// There are stored recordings, and their location is missing or empty.
    PlaceMissing,
    /// The broker can't be asked.
    BrokerUnreachable,
    /// The broker doesn't have a queue of ours.
    QueueMissing,
}

/// One problem.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Its kind.
    pub problem: Problem,
    /// The call that it is about, if it is about one.
    pub call_id: Option<i64>,
    /// The object that it is about, as a URL or, where it has none, its key.
    pub object: Option<String>,
    /// The problem in words, for people.
    pub detail: String,
    /// Whether it was queued again.
    pub repaired: bool,
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

/// The counts of an audit.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Calls of the window.
    pub calls: u64,
    /// Pending recordings of the window.
    pub pending: u64,
    /// Stored recordings of the window.
    pub stored: u64,
    /// Recordings of the window that were given up.
    pub failed: u64,
    /// Objects of the window that were compared with their recordings.
    pub objects: u64,
    /// Messages in the outbox, of whatever window.
    pub in_outbox: u64,
    /// Messages in the queues, of whatever window, the dead letters excepted.
    pub in_queues: u64,
    /// Dead letters in their queues, of whatever window.
    pub dead_letters: u64,
    /// Findings.
    pub problems: u64,
    /// Findings that were repaired.
    pub repaired: u64,
}

/// Counts findings and hands each on.
pub(super) struct Report<'a> {
    repair: bool,
    /// The counts so far.
    pub(super) counts: Counts,
    sink: &'a mut (dyn FnMut(&Finding) -> io::Result<()> + Send),
}

impl<'a> Report<'a> {
    pub(super) fn new(repair: bool, sink: &'a mut (dyn FnMut(&Finding) -> io::Result<()> + Send)) -> Self {
        Self { repair, counts: Counts::default(), sink }
    }

    /// Whether problems are to be repaired.
    pub(super) fn repairs(&self) -> bool {
        self.repair
    }

    /// A problem that can't be repaired by queueing something.
    pub(super) fn found(&mut self, finding: &Finding) -> Result<(), AuditError> {
        self.counts.problems += 1;
        (self.sink)(finding).map_err(AuditError::Sink)
    }

    /// A problem that was repaired, if `repaired`.
    pub(super) fn found_and(&mut self, mut finding: Finding, repaired: bool) -> Result<(), AuditError> {
        finding.repaired = repaired;
        self.counts.repaired += u64::from(repaired);
        self.found(&finding)
    }

    /// A problem of a call that is repaired by queueing its recording or its analysis, if repairs are wanted.
    pub(super) async fn found_and_queued(
        &mut self,
        scope: &Scope,
        finding: Finding,
        kind: DeadLetterKind,
    ) -> Result<(), AuditError> {
        let mut repaired = false;
        if let (true, Some(call_id)) = (self.repair, finding.call_id) {
            let id = DeadLetterId { kind, call_id: CallId(call_id) };
            repaired = requeue(&scope.plan.store, id).await?;
        }
        self.found_and(finding, repaired)
    }
}
