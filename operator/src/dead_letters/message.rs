//! A message in a dead-letter queue, as far as it tells a dead letter from a message that ended there unread.

use callvine_shared::event::{RECORDING_FAILED, call_id_of};
use callvine_shared::store::{DeadLetterId, DeadLetterKind};
use serde::Deserialize;

pub(super) struct Message {
    /// The recording or the analysis that it is about.
    pub(super) id: DeadLetterId,
    pub(super) event_id: String,
    /// Whether it says that a recording was given up.
    pub(super) is_failure: bool,
}

impl Message {
    /// `None`: it is none of our events.
    pub(super) fn read(kind: DeadLetterKind, body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Envelope {
            id: String,
            r#type: String,
        }
        let call_id = call_id_of(body).ok()?;
        let event: Envelope = serde_json::from_slice(body).ok()?;
        let is_failure = event.r#type.strip_prefix("ai.callvine.") == Some(RECORDING_FAILED);
        Some(Self { id: DeadLetterId { kind, call_id }, event_id: event.id, is_failure })
    }
}
