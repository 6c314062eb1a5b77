//! Messages under way: the outbox, the rows of in-process delivery, the broker's queues; and then everything that rests
//! without a message among them.

use std::collections::{HashMap, HashSet};

use callvine_shared::bus::QueueDepth;
use callvine_shared::call::CallId;
use callvine_shared::queue::{Queue, QueueName};
use callvine_shared::retry::LONGEST_WAIT;
use callvine_shared::store::{DeadLetterKind, Idle, WaitingMessage};
use chrono::{DateTime, TimeDelta, Utc};

use super::findings::{Finding, Problem, Report};
use super::{AuditError, Scope};
use crate::pages::Pages;

/// How much later than [`LONGEST_WAIT`] a retry may be due, for a lease and for clocks that differ.
const POSTPONED_SLACK: TimeDelta = TimeDelta::minutes(2);

/// The calls that were seen to have a message under way.
pub(super) struct Traffic {
    recordings: HashSet<i64>,
    analyses: HashSet<i64>,
    dead_letters: HashSet<i64>,
    /// The depth of the broker's queues; `None`: there is no broker, or it could not be asked.
    depths: Option<HashMap<Queue, u64>>,
    /// Whether workers consume the broker's queue of recordings.
    has_workers: bool,
}

/// Recordings or analyses that rest, and have no message that could be seen.
struct Resting<'a> {
    candidates: &'a [Idle],
    kind: DeadLetterKind,
    queue: Queue,
    problem: Problem,
}

/// A judgement about all that rests without a visible message.
struct Verdict {
    detail: String,
    /// Whether a message is missing; else there is one, and nobody takes it.
    is_lost: bool,
}

impl Traffic {
    /// Reads the outbox, then the queues: a message only ever moves in that direction, unless something happens to its
    /// recording too, and then the recording doesn't rest.
    pub(super) async fn observe(scope: &Scope, report: &mut Report<'_>) -> Result<Self, AuditError> {
        let mut traffic = Self {
            recordings: HashSet::new(),
            analyses: HashSet::new(),
            dead_letters: HashSet::new(),
            depths: None,
            has_workers: false,
        };
        traffic.read_outbox(scope, report).await?;
        traffic.read_deliveries(scope, report).await?;
        if scope.plan.queues.are_in_a_broker() {
            traffic.ask_broker(scope, report).await?;
        }
        Ok(traffic)
    }

    /// Whether a dead letter of this call was seen.
    pub(super) fn has_dead_letter(&self, call_id: CallId) -> bool {
        self.dead_letters.contains(&call_id.0)
    }

    async fn read_outbox(&mut self, scope: &Scope, report: &mut Report<'_>) -> Result<(), AuditError> {
        let mut pages = Pages::after(0);
        while let Some(rows) = pages.take(scope.plan.store.audit_outbox(pages.last()).await?, |row| row.id) {
            for row in &rows {
                report.counts.in_outbox += 1;
                for queue in destinations(row) {
                    self.note(queue, row);
                }
                judge_outbox_row(scope, row, report).await?;
            }
        }
        Ok(())
    }

    async fn read_deliveries(&mut self, scope: &Scope, report: &mut Report<'_>) -> Result<(), AuditError> {
        // With a broker nobody takes these rows: they are no sign of life.
        if scope.plan.queues.are_in_a_broker() {
            return Ok(());
        }
        let mut pages = Pages::after(0);
        while let Some(rows) =
            pages.take(scope.plan.store.audit_deliveries(pages.last()).await?, |row| row.id)
        {
            for row in &rows {
                let queue = row.queue.as_ref().and_then(QueueName::known);
                match queue {
                    Some(Queue::RecordingsDead | Queue::AnalysisDead) => report.counts.dead_letters += 1,
                    Some(Queue::Recordings | Queue::Analysis) | None => report.counts.in_queues += 1,
                }
                if let Some(queue) = queue {
                    self.note(queue, row);
                }
                // An analysis may wait for an analyzer for as long as it takes.
                if queue == Some(Queue::Recordings) && row.available_at <= scope.resting_since {
                    let detail =
                        format!("waits for a worker since {} (does `up` run?)", text(row.available_at));
                    name_each(scope, row, (Problem::RecordingStuck, &detail, false), report).await?;
                }
            }
        }
        Ok(())
    }

    async fn ask_broker(&mut self, scope: &Scope, report: &mut Report<'_>) -> Result<(), AuditError> {
        let depths = match scope.plan.queues.depths().await {
            Ok(depths) => depths,
            Err(error) => {
                let detail = format!("{error}; what waits in its queues is not known");
                return report.found(&Finding::of_all(Problem::BrokerUnreachable, detail));
            }
        };
        let mut known = HashMap::new();
        for (queue, depth) in depths {
            if depth.is_none() {
                let detail = format!("{} doesn't exist; a running process declares it", queue.name());
                report.found(&Finding::of_all(Problem::QueueMissing, detail))?;
            }
            let QueueDepth { ready, consumers } = depth.unwrap_or(QueueDepth { ready: 0, consumers: None });
            match queue {
                Queue::RecordingsDead | Queue::AnalysisDead => report.counts.dead_letters += ready,
                Queue::Recordings | Queue::Analysis => report.counts.in_queues += ready,
            }
            self.has_workers |= queue == Queue::Recordings && consumers.is_some_and(|count| count > 0);
            known.insert(queue, ready);
        }
        self.depths = Some(known);
        Ok(())
    }

    /// Notes that calls have a message in this queue, or on its way there.
    fn note(&mut self, queue: Queue, row: &WaitingMessage) {
        let calls = row.calls.clone().into_iter().flatten();
        match queue {
            Queue::Recordings => self.recordings.extend(calls),
            Queue::Analysis => self.analyses.extend(calls),
            Queue::RecordingsDead => self.dead_letters.extend(calls),
            // An analysis that was given up is judged by its row alone.
            Queue::AnalysisDead => {}
        }
    }

    /// Judges the recordings and analyses that rest and have no message among those that were seen.
    pub(super) async fn judge_resting(
        &self,
        scope: &Scope,
        report: &mut Report<'_>,
    ) -> Result<(), AuditError> {
        let (store, since, now) = (&scope.plan.store, scope.resting_since, scope.now);
        let mut recordings = Vec::new();
        let mut pages = Pages::after(CallId(0));
        while let Some(page) =
            pages.take(store.idle_recordings(since, now, pages.last()).await?, |idle| idle.call_id)
        {
            recordings.extend(page.into_iter().filter(|idle| !self.recordings.contains(&idle.call_id.0)));
        }
        let resting = Resting {
            candidates: &recordings,
            kind: DeadLetterKind::Recording,
            queue: Queue::Recordings,
            problem: Problem::RecordingStuck,
        };
        self.judge(scope, &resting, report).await?;
        let mut analyses = Vec::new();
        let mut pages = Pages::after(CallId(0));
        while let Some(page) =
            pages.take(store.idle_analyses(since, now, pages.last()).await?, |idle| idle.call_id)
        {
            analyses.extend(page.into_iter().filter(|idle| !self.analyses.contains(&idle.call_id.0)));
        }
        let resting = Resting {
            candidates: &analyses,
            kind: DeadLetterKind::Analysis,
            queue: Queue::Analysis,
            problem: Problem::AnalysisStuck,
        };
        self.judge(scope, &resting, report).await
    }

    async fn judge(
        &self,
        scope: &Scope,
        resting: &Resting<'_>,
        report: &mut Report<'_>,
    ) -> Result<(), AuditError> {
        let Some(Verdict { detail, is_lost }) = self.verdict(scope, resting) else { return Ok(()) };
        for idle in resting.candidates.iter().filter(|idle| scope.plan.window.includes(idle.created_at)) {
            let finding = Finding::of_call(resting.problem, idle.call_id, detail.as_str());
            if is_lost {
                report.found_and_queued(scope, finding, resting.kind).await?;
            } else {
                report.found(&finding)?;
            }
        }
        Ok(())
    }

    /// `None`: everything that rests may well have a message in the queue.
    fn verdict(&self, scope: &Scope, resting: &Resting<'_>) -> Option<Verdict> {
        let (count, name) = (resting.candidates.len(), resting.queue.name());
        let lost = |detail: String| Some(Verdict { detail, is_lost: true });
        if !scope.plan.queues.are_in_a_broker() {
            return lost(format!("there is no message for it in the outbox or in {name}"));
        }
        let ready = usize::try_from(*self.depths.as_ref()?.get(&resting.queue)?).unwrap_or(usize::MAX);
        if ready == 0 {
            lost(format!("there is no message for it in the outbox, and {name} is empty"))
        } else if ready < count {
            lost(format!(
                "{name} holds {ready} messages for {count} such calls, so that {} or more have none",
                count - ready
            ))
        } else if resting.queue == Queue::Recordings && !self.has_workers {
            let detail = format!("waits in {name}, which no worker consumes");
            Some(Verdict { detail, is_lost: false })
        } else {
            None
        }
    }
}

async fn judge_outbox_row(
    scope: &Scope,
    row: &WaitingMessage,
    report: &mut Report<'_>,
) -> Result<(), AuditError> {
    let event = row.routing_key.as_deref().unwrap_or_default();
    let latest = scope.now + TimeDelta::from_std(LONGEST_WAIT).unwrap_or(TimeDelta::MAX) + POSTPONED_SLACK;
    if row.available_at <= scope.resting_since {
        let since = text(row.available_at);
        let detail = format!("{event} waits for its publishing since {since} (is the broker there?)");
        name_each(scope, row, (Problem::EventStuck, &detail, false), report).await
    } else if row.available_at > latest {
        let at = text(row.available_at);
        let detail = format!("{event} is postponed until {at} (was a clock wrong?)");
        let repaired = report.repairs();
        if repaired {
            scope.plan.store.release_unpublished(&[row.id], Utc::now()).await?;
        }
        name_each(scope, row, (Problem::EventPostponed, &detail, repaired), report).await
    } else {
        Ok(())
    }
}

/// Reports a problem for every call of the window that a message is about, and for calls that don't exist.
async fn name_each(
    scope: &Scope,
    row: &WaitingMessage,
    (problem, detail, repaired): (Problem, &str, bool),
    report: &mut Report<'_>,
) -> Result<(), AuditError> {
    let Some(calls) = row.calls.clone() else {
        let detail = format!("row {} is not about a call; {detail}", row.id);
        return report.found(&Finding::of_all(Problem::EventWithoutCall, detail));
    };
    let ids: Vec<CallId> = calls.map(CallId).collect();
    let existing = scope.plan.store.created_at(&ids).await?;
    if existing.is_empty()
        && let Some(id) = ids.first()
    {
        return report.found(&Finding::of_call(Problem::EventWithoutCall, *id, detail));
    }
    for call in existing.iter().filter(|call| scope.plan.window.includes(call.created_at)) {
        report.found_and(Finding::of_call(problem, call.call_id, detail), repaired)?;
    }
    Ok(())
}

/// The queues that a row of the outbox goes to, besides its subscribers' own.
fn destinations(row: &WaitingMessage) -> Vec<Queue> {
    match &row.queue {
        Some(only) => only.known().into_iter().collect(),
        None => Queue::bound_to(row.routing_key.as_deref().unwrap_or_default()).collect(),
    }
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
