//! Publishes rows of the outbox.

use super::{GATHER, RelayError};
use crate::bus::{Bus, Published};
use crate::call::{Call, CallId};
use crate::metrics::EVENTS_PUBLISHED;
use crate::queue::Message;
use crate::store::Store;

/// Rows of the outbox, and the messages that they stand for.
pub(super) enum Work {
    /// All of it is confirmed, or the rows stay.
    Batch { outbox_ids: Vec<i64>, content: Content },
    /// A message a row; each row leaves when its own message is confirmed.
    Singles(Vec<(i64, Message)>),
}

pub(super) enum Content {
    /// `call.created` of these calls.
    Calls(Vec<Call>),
    /// `call.created` of the calls from the first to the last of these ids.
    Run(CallId, CallId),
}

/// Rows of the outbox whose calls follow each other.
pub(super) struct Run {
    pub(super) outbox_ids: Vec<i64>,
    pub(super) first: CallId,
    pub(super) last: CallId,
}

impl Run {
    /// Whether calls that begin with this one are published together with these.
    pub(super) fn goes_on_with(&self, first: CallId) -> bool {
        let calls = usize::try_from(self.last.0 - self.first.0).unwrap_or(usize::MAX);
        first.0 == self.last.0 + 1 && calls < GATHER
    }

    pub(super) fn append(&mut self, outbox_id: i64, last: CallId) {
        self.outbox_ids.push(outbox_id);
        self.last = last;
    }
}

/// The outcome of a publish.
pub(super) struct Outcome {
    /// Rows whose messages are all confirmed.
    pub(super) confirmed: Vec<i64>,
    /// The other rows.
    pub(super) rest: Vec<i64>,
    /// Why there are any.
    pub(super) error: Option<RelayError>,
}

impl Work {
    /// Publishes; returns when every message is confirmed, or known not to be.
    pub(super) async fn publish(self, store: &Store, bus: &Bus) -> Outcome {
        match self {
            Self::Batch { outbox_ids, content } => match publish_batch(store, bus, content).await {
                Ok(()) => Outcome { confirmed: outbox_ids, rest: Vec::new(), error: None },
                Err(error) => Outcome { confirmed: Vec::new(), rest: outbox_ids, error: Some(error) },
            },
            Self::Singles(singles) => publish_singles(bus, singles).await,
        }
    }
}

async fn publish_batch(store: &Store, bus: &Bus, content: Content) -> Result<(), RelayError> {
    let messages = match content {
        Content::Calls(calls) => store.messages_created(&calls).await?,
        Content::Run(first, last) => store.messages_of_calls(first, last).await?,
    };
    let published = bus.publish(&messages).await;
    count(&published);
    published.error.map_or(Ok(()), |error| Err(error.into()))
}

async fn publish_singles(bus: &Bus, singles: Vec<(i64, Message)>) -> Outcome {
    let (outbox_ids, messages): (Vec<i64>, Vec<Message>) = singles.into_iter().unzip();
    let published = bus.publish(&messages).await;
    count(&published);
    let (mut confirmed, mut rest) = (Vec::new(), Vec::new());
    for (id, is_confirmed) in outbox_ids.into_iter().zip(published.confirmed) {
        if is_confirmed { &mut confirmed } else { &mut rest }.push(id);
    }
    Outcome { confirmed, rest, error: published.error.map(RelayError::from) }
}

fn count(published: &Published) {
    let confirmed = published.confirmed.iter().filter(|confirmed| **confirmed).count();
    metrics::counter!(EVENTS_PUBLISHED).increment(confirmed as u64);
}
