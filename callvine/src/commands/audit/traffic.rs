//! What is on its way: the outbox, the rows of in-process delivery, the broker's queues; and then what rests without
//! being among them.

use std::collections::{HashMap, HashSet};

use callvine_shared::bus::{self, QueueDepth};
use callvine_shared::call::CallId;
use callvine_shared::queue::{Queue, QueueName};
use callvine_shared::retry::LONGEST_WAIT;
use callvine_shared::store::{Idle, WaitingMessage};
use chrono::{DateTime, TimeDelta, Utc};

use super::findings::{Finding, Problem, Report};
use super::{Scope, reading};
use crate::failure::Failure;

/// How much later than [`LONGEST_WAIT`] a retry may be due, for a lease and for clocks that differ.
const POSTPONED_SLACK: TimeDelta = TimeDelta::minutes(2);

/// What was seen on its way.
pub(super) struct Traffic {
    recordings: HashSet<i64>,
    analyses: HashSet<i64>,
    dead_letters: HashSet<i64>,
    /// `None`: not to be known.
    depths: Option<HashMap<Queue, QueueDepth>>,
}

/// What rests, and has no message that could be seen.
struct Resting<'a> {
    candidates: &'a [Idle],
    queue: Queue,
    problem: Problem,
}

/// What is to be said of all that rests without a visible message.
struct Verdict {
    detail: String,
    /// Whether a message is missing; else there is one, and nobody takes it.
    is_lost: bool,
}

impl Traffic {
    /// Reads the outbox, then the queues: a message only ever moves in that direction unless something happens to
    /// its recording too, and then that doesn't rest.
    pub(super) async fn observe(
        scope: &Scope,
        amqp_url: Option<&str>,
        report: &mut Report,
    ) -> Result<Self, Failure> {
        let mut traffic = Self {
            recordings: HashSet::new(),
            analyses: HashSet::new(),
            dead_letters: HashSet::new(),
            depths: None,
        };
        traffic.read_outbox(scope, report).await?;
        traffic.read_deliveries(scope, report).await?;
        if let Some(url) = amqp_url {
            traffic.ask_broker(url, report).await?;
        }
        Ok(traffic)
    }

    /// Whether a dead letter of this call was seen.
    pub(super) fn has_dead_letter(&self, call_id: CallId) -> bool {
        self.dead_letters.contains(&call_id.0)
    }

    async fn read_outbox(&mut self, scope: &Scope, report: &mut Report) -> Result<(), Failure> {
        let mut last = 0;
        loop {
            let rows = reading(scope.store.audit_outbox(last).await)?;
            let Some(end) = rows.last().map(|row| row.id) else { return Ok(()) };
            last = end;
            for row in &rows {
                report.counts.in_outbox += 1;
                for queue in destinations(row) {
                    if let Some(set) = self.set_of(queue) {
                        set.extend(row.calls.clone().into_iter().flatten());
                    }
                }
                judge_outbox_row(scope, row, report).await?;
            }
        }
    }

    async fn read_deliveries(&mut self, scope: &Scope, report: &mut Report) -> Result<(), Failure> {
        let mut last = 0;
        loop {
            let rows = reading(scope.store.audit_deliveries(last).await)?;
            let Some(end) = rows.last().map(|row| row.id) else { return Ok(()) };
            last = end;
            // With a broker nobody takes these rows: they are no sign of life.
            for row in rows.iter().filter(|_| !scope.has_broker) {
                let queue = row.queue.as_ref().and_then(QueueName::known);
                if queue.is_some_and(|queue| queue.dead_letters().is_none()) {
                    report.counts.dead_letters += 1;
                } else {
                    report.counts.in_queues += 1;
                }
                if let Some(set) = queue.and_then(|queue| self.set_of(queue)) {
                    set.extend(row.calls.clone().into_iter().flatten());
                }
                // An analysis may wait for an analyzer for as long as it takes.
                if queue == Some(Queue::Recordings) && row.available_at <= scope.resting_since {
                    let detail =
                        format!("waits for a worker since {} (does `up` run?)", text(row.available_at));
                    name_each(scope, row, (Problem::RecordingStuck, &detail, false), report).await?;
                }
            }
        }
    }

    async fn ask_broker(&mut self, url: &str, report: &mut Report) -> Result<(), Failure> {
        let depths = match bus::queue_depths(url).await {
            Ok(depths) => depths,
            Err(error @ bus::BusError::Url) => return Err(crate::process::setting_failure(error)),
            Err(error) => {
                let detail = format!("{error}; what waits in its queues is not known");
                return report.found(&Finding::of_all(Problem::BrokerUnreachable, detail));
            }
        };
        let mut known = HashMap::new();
        for (queue, depth) in depths {
            let Some(depth) = depth else {
                let detail = format!("{} doesn't exist; a running process declares it", queue.name());
                report.found(&Finding::of_all(Problem::QueueMissing, detail))?;
                known.insert(queue, QueueDepth { ready: 0, consumers: 0 });
                continue;
            };
            if queue.dead_letters().is_none() {
                report.counts.dead_letters += u64::from(depth.ready);
            } else {
                report.counts.in_queues += u64::from(depth.ready);
            }
            known.insert(queue, depth);
        }
        self.depths = Some(known);
        Ok(())
    }

    fn set_of(&mut self, queue: Queue) -> Option<&mut HashSet<i64>> {
        match queue {
            Queue::Recordings => Some(&mut self.recordings),
            Queue::Analysis => Some(&mut self.analyses),
            Queue::RecordingsDead => Some(&mut self.dead_letters),
            Queue::AnalysisDead => None,
        }
    }

    /// Judges the recordings and analyses that rest and have no message among those that were seen.
    pub(super) async fn judge_resting(&self, scope: &Scope, report: &mut Report) -> Result<(), Failure> {
        let since = scope.resting_since;
        let mut recordings = Vec::new();
        let mut last = CallId(0);
        loop {
            let page = reading(scope.store.idle_recordings(since, scope.now, last).await)?;
            let Some(end) = page.last() else { break };
            last = end.call_id;
            recordings.extend(page.into_iter().filter(|idle| !self.recordings.contains(&idle.call_id.0)));
        }
        let resting =
            Resting { candidates: &recordings, queue: Queue::Recordings, problem: Problem::RecordingStuck };
        self.judge(scope, &resting, report).await?;
        let mut analyses = Vec::new();
        let mut last = CallId(0);
        loop {
            let page = reading(scope.store.idle_analyses(since, scope.now, last).await)?;
            let Some(end) = page.last() else { break };
            last = end.call_id;
            analyses.extend(page.into_iter().filter(|idle| !self.analyses.contains(&idle.call_id.0)));
        }
        let resting =
            Resting { candidates: &analyses, queue: Queue::Analysis, problem: Problem::AnalysisStuck };
        self.judge(scope, &resting, report).await
    }

    async fn judge(&self, scope: &Scope, resting: &Resting<'_>, report: &mut Report) -> Result<(), Failure> {
        let Some(Verdict { detail, is_lost }) = self.verdict(scope, resting) else { return Ok(()) };
        for idle in resting.candidates.iter().filter(|idle| scope.window.includes(idle.created_at)) {
            let repaired = is_lost
                && report.repairs()
                && match resting.queue {
                    Queue::Recordings => {
                        reading(scope.store.requeue_recording(idle.call_id, Utc::now()).await)?
                    }
                    _ => reading(scope.store.requeue_analysis(idle.call_id, Utc::now()).await)?,
                };
            report.found_and(Finding::of_call(resting.problem, idle.call_id, detail.as_str()), repaired)?;
        }
        Ok(())
    }

    /// `None`: what rests may well be in the queue.
    fn verdict(&self, scope: &Scope, resting: &Resting<'_>) -> Option<Verdict> {
        let (count, name) = (resting.candidates.len(), resting.queue.name());
        let lost = |detail: String| Some(Verdict { detail, is_lost: true });
        if !scope.has_broker {
            return lost(format!("there is no message for it in the outbox or in {name}"));
        }
        let depth = self.depths.as_ref()?.get(&resting.queue)?;
        let ready = usize::try_from(depth.ready).unwrap_or(usize::MAX);
        if ready == 0 {
            lost(format!("there is no message for it in the outbox, and {name} is empty"))
        } else if ready < count {
            lost(format!(
                "{name} holds {ready} messages for {count} such calls, so that {} or more have none",
                count - ready
            ))
        } else if depth.consumers == 0 && resting.queue == Queue::Recordings {
            let detail = format!("waits in {name}, which no worker consumes");
            Some(Verdict { detail, is_lost: false })
        } else {
            None
        }
    }
}

async fn judge_outbox_row(scope: &Scope, row: &WaitingMessage, report: &mut Report) -> Result<(), Failure> {
    let what = row.routing_key.as_deref().unwrap_or_default();
    let latest = scope.now + TimeDelta::from_std(LONGEST_WAIT).unwrap_or(TimeDelta::MAX) + POSTPONED_SLACK;
    if row.available_at <= scope.resting_since {
        let since = text(row.available_at);
        let detail = format!("{what} waits for its publishing since {since} (is the broker there?)");
        name_each(scope, row, (Problem::EventStuck, &detail, false), report).await
    } else if row.available_at > latest {
        let at = text(row.available_at);
        let detail = format!("{what} is put off until {at} (was a clock wrong?)");
        let repaired = report.repairs();
        if repaired {
            reading(scope.store.release_unpublished(&[row.id], Utc::now()).await)?;
        }
        name_each(scope, row, (Problem::EventPostponed, &detail, repaired), report).await
    } else {
        Ok(())
    }
}

/// Reports a problem of every call of the window that a message is about, and calls that don't exist.
async fn name_each(
    scope: &Scope,
    row: &WaitingMessage,
    (problem, detail, repaired): (Problem, &str, bool),
    report: &mut Report,
) -> Result<(), Failure> {
    let Some(calls) = row.calls.clone() else {
        let detail = format!("row {} is not about a call; {detail}", row.id);
        return report.found(&Finding::of_all(Problem::EventWithoutCall, detail));
    };
    let ids: Vec<CallId> = calls.map(CallId).collect();
    let existing = reading(scope.store.created_at(&ids).await)?;
    if existing.is_empty()
        && let Some(id) = ids.first()
    {
        return report.found(&Finding::of_call(Problem::EventWithoutCall, *id, detail));
    }
    for call in existing.iter().filter(|call| scope.window.includes(call.created_at)) {
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
