//! Removes confirmed rows from the outbox, and makes the others due again.

use chrono::{TimeDelta, Utc};
use tokio::sync::mpsc;

use crate::error_chain::Chain;
use crate::store::Store;

/// Rows removed or released by one statement at most.
const SETTLE: usize = 1024;

/// An unconfirmed message is published again after this time.
const UNCONFIRMED_PAUSE: TimeDelta = TimeDelta::milliseconds(500);

/// The outcome for rows of the outbox.
pub(super) struct Settled {
    pub(super) outbox_ids: Vec<i64>,
    pub(super) confirmed: bool,
}

/// Settles until every sender is gone. While the database is away nothing is settled, and the rows are published again when
/// their leases end.
pub(super) async fn run(store: Store, mut settling: mpsc::UnboundedReceiver<Settled>) {
    let mut batch = Vec::with_capacity(SETTLE);
    while settling.recv_many(&mut batch, SETTLE).await > 0 {
        let (mut confirmed, mut rest) = (Vec::new(), Vec::new());
        for settled in batch.drain(..) {
            if settled.confirmed { &mut confirmed } else { &mut rest }.extend(settled.outbox_ids);
        }
        if !confirmed.is_empty()
            && let Err(error) = store.remove_published(&confirmed).await
        {
            tracing::warn!(error = %Chain(&error), "published events stay in the outbox and are published again");
        }
        if !rest.is_empty()
            && let Err(error) = store.release_unpublished(&rest, Utc::now() + UNCONFIRMED_PAUSE).await
        {
            tracing::warn!(error = %Chain(&error), "unpublished events wait for their leases to end");
        }
    }
}
