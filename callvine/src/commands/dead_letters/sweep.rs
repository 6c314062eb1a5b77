//! Clears the dead-letter queues of what does not hold any more, and queues again what ended there unread.

use std::collections::HashSet;

use callvine_shared::bus::{self, BusError};
use callvine_shared::event::{RECORDING_FAILED, call_id_of};
use callvine_shared::queue::Queue;
use callvine_shared::store::{DeadLetterId, DeadLetterKind, Retried, Store, StoreError};
use chrono::Utc;

/// One way through the dead-letter queues.
pub(super) struct Sweep {
    /// Whether messages that no consumer could deal with are queued again.
    revives: bool,
    /// Of which they are queued again all the same.
    wanted: HashSet<DeadLetterId>,
    retried: HashSet<DeadLetterId>,
    revived: Vec<DeadLetterId>,
}

/// What tells a dead letter from a message that ended in its queue.
pub(super) struct Message {
    /// What it is about.
    pub(super) id: DeadLetterId,
    event_id: String,
    /// Whether it says that a recording was given up.
    is_failure: bool,
}

impl Message {
    /// `None`: it is not one of ours.
    pub(super) fn read(queue: Queue, body: &[u8]) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Envelope {
            id: String,
            r#type: String,
        }
        let call_id = call_id_of(body).ok()?;
        let event: Envelope = serde_json::from_slice(body).ok()?;
        let kind = match queue {
            Queue::AnalysisDead => DeadLetterKind::Analysis,
            _ => DeadLetterKind::Recording,
        };
        let is_failure = event.r#type.strip_prefix("ai.callvine.") == Some(RECORDING_FAILED);
        Some(Self { id: DeadLetterId { kind, call_id }, event_id: event.id, is_failure })
    }
}

impl Sweep {
    pub(super) fn new(revives: bool) -> Self {
        Self { revives, wanted: HashSet::new(), retried: HashSet::new(), revived: Vec::new() }
    }

    /// What was to be tried again, and what became of it.
    pub(super) fn note(&mut self, id: DeadLetterId, retried: Retried) {
        if retried == Retried::Queued {
            self.retried.insert(id);
        }
    }

    /// This one was not given up; but if a message about it is in its queue, no consumer has it.
    pub(super) fn want(&mut self, id: DeadLetterId) {
        self.wanted.insert(id);
    }

    /// Goes through the queues; returns what was queued again because of a message in them.
    pub(super) async fn run(
        mut self,
        store: &Store,
        amqp_url: Option<&str>,
    ) -> Result<Vec<DeadLetterId>, BusError> {
        if !self.revives && self.wanted.is_empty() && self.retried.is_empty() {
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
        // Not one of our messages: for a person to look at.
        let Some(message) = Message::read(queue, body) else { return Ok(false) };
        let (id, call_id) = (message.id, message.id.call_id);
        if message.is_failure {
            let standing = store.failed_event_id(call_id).await?;
            return Ok(standing.is_none_or(|standing| standing.to_string() != message.event_id));
        }
        if self.retried.contains(&id) {
            return Ok(true);
        }
        let revives = self.revives || self.wanted.contains(&id);
        if !revives || store.dead_letter(id).await?.is_some() {
            return Ok(false);
        }
        let queued = match id.kind {
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
