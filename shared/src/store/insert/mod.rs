//! Calls come in, a batch by one transaction.

mod batch;
mod marks;
mod postgres;
mod sqlite;

use chrono::Utc;

use self::batch::Stamps;
pub use self::batch::{Inserted, Outcome, ReceivedCall};
pub(super) use self::postgres::Ingest;
use super::dialect::by_database;
use super::{OUTBOX_LEASE, Store, StoreError};

impl Store {
    /// Stores the calls, a pending recording and a `call.created` event for each, all in one transaction: when this
    /// returns `Ok`, they are on disk. A call whose mark an earlier one holds is not stored again; the transaction settles
    /// that, also among several processes. The events are due at once.
    ///
    /// Not cancel-safe: when the future is dropped, the calls may be stored or not.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: nothing is known about the calls. [`StoreError::Rejected`]: none was stored, and
    /// at least one of them never will be.
    pub async fn insert_calls(&self, calls: &[ReceivedCall]) -> Result<Vec<Outcome>, StoreError> {
        let now_us = Utc::now().timestamp_micros();
        let inserted = self.insert(calls, Stamps { now_us, available_at_us: now_us }).await?;
        self.outbox_written.notify_one();
        Ok(inserted.outcomes)
    }

    /// As [`Store::insert_calls`], with the events leased for [`OUTBOX_LEASE`] to the caller, which publishes them: a relay
    /// that reads the outbox leaves them alone until then.
    ///
    /// # Errors
    /// As [`Store::insert_calls`].
    pub async fn insert_leased_calls(&self, calls: &[ReceivedCall]) -> Result<Inserted, StoreError> {
        let now = Utc::now();
        let available_at_us = (now + OUTBOX_LEASE).timestamp_micros();
        self.insert(calls, Stamps { now_us: now.timestamp_micros(), available_at_us }).await
    }

    async fn insert(&self, calls: &[ReceivedCall], stamps: Stamps) -> Result<Inserted, StoreError> {
        Ok(by_database!(self.write, pool => {
            postgres: self.ingest.insert_calls(pool, calls, stamps).await?,
            sqlite: {
                let _batch = self.turns.begin_batch();
                sqlite::insert_calls(pool, calls, stamps).await?
            },
        }))
    }
}
