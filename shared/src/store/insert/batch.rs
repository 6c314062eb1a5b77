//! A batch of calls on its way into the database, and the rows that it becomes.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::api_key::Environment;
use crate::call::{CallId, NewCall};

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
}

/// The times that an insert writes beside the calls: microseconds since 1970 UTC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamps {
    pub(super) now_us: i64,
    /// From when on a relay may claim the events.
    pub(super) available_at_us: i64,
}

/// The rows that an insert has made.
#[derive(Debug)]
pub struct Inserted {
    /// The ids of the calls, in their order.
    pub ids: Vec<CallId>,
    /// The ids of the outbox rows that stand for their events.
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
