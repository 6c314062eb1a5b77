//! Ids for calls, known before the calls are inserted.

use std::collections::VecDeque;
use std::ops::Range;

use parking_lot::Mutex;
use sqlx::PgConnection;

use crate::call::CallId;
use crate::store::StoreError;

/// By how much `nextval('call_ids')` grows: the `increment by` of its migration.
const ID_BLOCK: i64 = 1000;

/// Ids that were reserved from the sequence and not used yet.
#[derive(Debug, Default)]
pub(super) struct IdBlocks(Mutex<VecDeque<Range<i64>>>);

impl IdBlocks {
    /// `count` ids that no other batch has.
    pub(super) async fn take(
        &self,
        connection: &mut PgConnection,
        count: usize,
    ) -> Result<Vec<CallId>, StoreError> {
        let mut ids = Vec::with_capacity(count);
        loop {
            self.take_reserved(count, &mut ids);
            if ids.len() == count {
                return Ok(ids);
            }
            let first: i64 =
                sqlx::query_scalar("select nextval('call_ids')").fetch_one(&mut *connection).await?;
            self.0.lock().push_back(first..first + ID_BLOCK);
        }
    }

    fn take_reserved(&self, count: usize, ids: &mut Vec<CallId>) {
        let mut blocks = self.0.lock();
        while ids.len() < count {
            let Some(block) = blocks.front_mut() else { return };
            match block.next() {
                Some(id) => ids.push(CallId(id)),
                None => drop(blocks.pop_front()),
            }
        }
    }
}
