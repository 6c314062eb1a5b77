//! A batch of calls on its way into the database, and the rows that it becomes.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::api_key::Environment;
use crate::call::{CallId, NewCall};
use crate::idempotency::Mark;

/// A call that was received and validated, and is not stored yet.
#[derive(Clone, Debug)]
pub struct ReceivedCall {
    /// The client whose key it was sent with.
    pub client: Arc<str>,
    /// The environment of that key.
    pub env: Environment,
    /// The call as sent.
    pub call: Arc<NewCall>,
    /// When it was received; whole seconds are kept.
    pub created_at: DateTime<Utc>,
    /// By which a repeated post is known, if the sender or its key asks for that. Boxed: most calls have none.
    pub mark: Option<Box<Mark>>,
}

/// The outcome of one call of a batch that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has this id.
    New(CallId),
    /// An earlier post was the same call; nothing was stored.
    Same {
        /// The id of the call that was stored, which may be gone by now.
        id: CallId,
        /// When that call was received; whole seconds.
        created_at: DateTime<Utc>,
    },
    /// An earlier post had the same key and another body; nothing was stored.
    Conflict,
}

impl Outcome {
    /// The id of the call that was stored, by this post or an earlier one; `None` after a conflict.
    #[must_use]
    pub fn id(self) -> Option<CallId> {
        match self {
            Self::New(id) | Self::Same { id, .. } => Some(id),
            Self::Conflict => None,
        }
    }
}

/// The times that an insert writes beside the calls: microseconds since 1970 UTC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamps {
    pub(super) now_us: i64,
    /// From when on a relay may claim the events.
    pub(super) available_at_us: i64,
}

/// A batch that was stored.
#[derive(Debug)]
pub struct Inserted {
    /// The outcomes of the calls, in their order.
    pub outcomes: Vec<Outcome>,
    /// The ids of the outbox rows that stand for the events of the new ones; none without a new one.
    pub outbox_ids: Vec<i64>,
}

/// Ids in ascending order as runs without gaps, first and last of each.
pub(super) fn runs(ids: &[CallId]) -> Vec<(i64, i64)> {
    ids.chunk_by(|one, next| next.0 == one.0 + 1)
        .filter_map(|run| Some((run.first()?.0, run.last()?.0)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_where_ids_skip() {
        let runs = |ids: &[i64]| runs(&ids.iter().copied().map(CallId).collect::<Vec<_>>());
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[5]), [(5, 5)]);
        assert_eq!(runs(&[998, 999, 1000, 7001, 7002, 9001]), [(998, 1000), (7001, 7002), (9001, 9001)]);
    }
}
