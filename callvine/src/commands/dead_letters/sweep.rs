//! Clears the dead-letter queues of what does not hold any more, and queues again what ended there unread.

use std::collections::HashSet;

use callvine_shared::bus::{self, BusError, Queue};
use callvine_shared::event::{RECORDING_FAILED, call_id_of};
use callvine_shared::store::{DeadLetterId, DeadLetterKind, Retried, Store, StoreError};
use chrono::Utc;

/// One way through the dead-letter queues.
pub(super) struct Sweep {
    /// Whether messages that no consumer could deal with are queued again.
    revives: bool,
    retried: HashSet<DeadLetterId>,
    revived: Vec<DeadLetterId>,
}

/// The part of an event that tells a dead letter from a message that ended in its queue.
#[derive(serde::Deserialize)]
struct Envelope {
    id: String,
    r#type: String,
}

impl Sweep {
    pub(super) fn new(revives: bool) -> Self {
        Self { revives, retried: HashSet::new(), revived: Vec::new() }
    }

    /// What was to be tried again, and what became of it.
    pub(super) fn note(&mut self, id: DeadLetterId, retried: Retried) {
        if retried == Retried::Queued {
            self.retried.insert(id);
        }
    }

    /// Goes through the queues; returns what was queued again because of a message in them.
    pub(super) async fn run(
        mut self,
        store: &Store,
        amqp_url: Option<&str>,
    ) -> Result<Vec<DeadLetterId>, BusError> {
        if !self.revives && self.retried.is_empty() {
            return Ok(self.revived);
        }
        for queue in [Queue::RecordingsDead, Queue::AnalysisDead] {
            match amqp_url {
                Some(url) => {
                    let mut failed = None;
                    let judge = async |body: &[u8]| match self.is_needless(store, queue, body).await {
                        Ok(needless) => needless,
                        Err(error) => {
                            failed = Some(error);
                            false
                        }
                    };
                    bus::sweep(url, queue, judge).await?;
                    failed.map_or(Ok(()), Err)?;
                }
                None => self.sweep_rows(store, queue).await?,
            }
        }
        Ok(self.revived)
    }

    async fn sweep_rows(&mut self, store: &Store, queue: Queue) -> Result<(), StoreError> {
        let mut last = 0;
        loop {
            let rows = store.deliveries_in(queue, last).await?;
            let Some((end, _)) = rows.last() else { return Ok(()) };
            last = *end;
            for (id, body) in &rows {
                if self.is_needless(store, queue, body.as_bytes()).await? {
                    store.remove_delivery(*id).await?;
                }
            }
        }
    }

    async fn is_needless(&mut self, store: &Store, queue: Queue, body: &[u8]) -> Result<bool, StoreError> {
        let (Ok(call_id), Ok(event)) = (call_id_of(body), serde_json::from_slice::<Envelope>(body)) else {
            // Not one of our messages: for a person to look at.
            return Ok(false);
        };
        let kind = match queue {
            Queue::AnalysisDead => DeadLetterKind::Analysis,
            _ => DeadLetterKind::Recording,
        };
        let id = DeadLetterId { kind, call_id };
        if event.r#type.strip_prefix("ai.callvine.") == Some(RECORDING_FAILED) {
            let standing = store.failed_event_id(call_id).await?;
            return Ok(standing.is_none_or(|standing| standing.to_string() != event.id));
        }
        if self.retried.contains(&id) {
            return Ok(true);
        }
        if !self.revives || store.dead_letter(id).await?.is_some() {
            return Ok(false);
        }
        let queued = match kind {
            DeadLetterKind::Recording => store.requeue_recording(call_id, Utc::now()).await?,
            DeadLetterKind::Analysis => store.requeue_analysis(call_id, Utc::now()).await?,
        };
        // Where nothing was queued, it is settled or under way: the message is needless all the more.
        if queued {
            self.revived.push(id);
        }
        Ok(true)
    }
}
