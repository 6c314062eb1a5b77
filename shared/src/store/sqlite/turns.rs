//! Turns at SQLite's one writing connection, for every writer but the intake: one after the other, in transactions that
//! they share.
//!
//! A transaction costs one wait for the disk, whatever is in it. So the first writer in line opens one, the writers behind
//! it take their turns in the same one, and it is committed when the line is through; no writer is told that its work is
//! done before that. Each turn is all or nothing for itself; only a fault that ends a transaction as a
//! whole, a full disk for one, fails the writers that share it.

use std::sync::Arc;
use std::time::Instant;

use sqlx::{Acquire, Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use super::giving_way::GivingWay;
use crate::store::StoreError;
use crate::store::dialect::Ending;
use crate::throttle::Batch;

/// The line for the writing connection. It is as long as there are callers: the steps of the recordings that a worker has
/// in hand, and the relay's window.
#[derive(Debug, Default)]
pub(in crate::store) struct Turns {
    line: Arc<Mutex<Line>>,
    giving_way: GivingWay,
}

/// The transaction that is open, if one is. Locked in the order in which it is asked for.
#[derive(Debug, Default)]
struct Line {
    open: Option<Shared>,
    /// The number of the transaction that was opened last.
    number: u64,
}

/// A transaction that takes turns.
#[derive(Debug)]
struct Shared {
    transaction: Transaction<'static, Sqlite>,
    begun: Instant,
    /// Unset while a turn of several statements is under way: an abandoned turn leaves it unset, and the transaction's
    /// content is unknown.
    is_whole: bool,
    /// The result of its commit; dropped without one when it is rolled back.
    outcome: watch::Sender<Option<Outcome>>,
}

type Outcome = Result<(), Arc<sqlx::Error>>;

impl Turns {
    /// Counts a batch of calls as waiting for the connection, or being stored, until the guard is dropped.
    pub(in crate::store) fn begin_batch(&self) -> Batch<'_> {
        self.giving_way.begin_batch()
    }

    /// Runs one statement when it is its turn, and returns when its effect is on disk. Abandoned half-way, it may be
    /// carried out or not.
    pub(in crate::store) async fn take<T>(
        &self,
        pool: &SqlitePool,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut line = self.open(pool).await?;
        let Some(shared) = &mut line.open else { return Err(rolled_back()) };
        let outcome = shared.outcome.subscribe();
        let done = work(&mut shared.transaction).await;
        settle(line, outcome, done).await
    }

    /// Runs several statements when it is their turn, all or none, and returns when their effect is on disk.
    pub(in crate::store) async fn take_transaction<T>(
        &self,
        pool: &SqlitePool,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<Ending<T>, StoreError>,
    ) -> Result<Ending<T>, StoreError> {
        let mut line = self.open(pool).await?;
        let Some(shared) = &mut line.open else { return Err(rolled_back()) };
        let outcome = shared.outcome.subscribe();
        shared.is_whole = false;
        let done = in_savepoint(&mut shared.transaction, work).await;
        shared.is_whole = true;
        settle(line, outcome, done).await
    }

    /// The line when it is this caller's turn, with a transaction that is open.
    async fn open(&self, pool: &SqlitePool) -> Result<OwnedMutexGuard<Line>, StoreError> {
        let mut line = self.line.clone().lock_owned().await;
        if let Some(shared) = line.open.take_if(|shared| !self.has_a_turn_left(shared)) {
            // A task carries the end through even if this caller goes away; then the connection is free.
            tokio::spawn(shared.end());
        }
        if line.open.is_none() {
            self.giving_way.before_a_transaction().await;
            // Immediate: a transaction that reads first and writes then would fail at once when another process wrote
            // in between, whatever the busy timeout.
            let transaction = pool.begin_with("begin immediate").await?;
            let (outcome, _) = watch::channel(None);
            line.open = Some(Shared { transaction, begun: Instant::now(), is_whole: true, outcome });
            line.number += 1;
            // Behind the writers that wait already, and whatever becomes of this caller.
            tokio::spawn(end_in_turn(self.line.clone(), line.number));
        }
        Ok(line)
    }

    fn has_a_turn_left(&self, shared: &Shared) -> bool {
        shared.is_whole && self.giving_way.allows_a_turn(shared.begun)
    }
}

impl Shared {
    /// Commits; an abandoned turn drops the transaction, which rolls it back.
    async fn end(self) {
        if self.is_whole {
            let outcome = self.transaction.commit().await.map_err(Arc::new);
            self.outcome.send_replace(Some(outcome));
        }
    }
}

async fn end_in_turn(line: Arc<Mutex<Line>>, number: u64) {
    let mut line = line.lock().await;
    if line.number == number
        && let Some(shared) = line.open.take()
    {
        shared.end().await;
    }
}

async fn in_savepoint<T>(
    transaction: &mut Transaction<'static, Sqlite>,
    work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<Ending<T>, StoreError>,
) -> Result<Ending<T>, StoreError> {
    let mut savepoint = transaction.begin().await?;
    // A savepoint that is dropped is rolled back.
    let ending = work(&mut savepoint).await?;
    match &ending {
        Ending::Commit(_) => savepoint.commit().await?,
        Ending::Leave(_) => savepoint.rollback().await?,
    }
    Ok(ending)
}

/// Returns the result of a turn as soon as its effect is on disk.
async fn settle<T>(
    mut line: OwnedMutexGuard<Line>,
    mut outcome: watch::Receiver<Option<Outcome>>,
    done: Result<T, StoreError>,
) -> Result<T, StoreError> {
    if matches!(done, Err(StoreError::Unavailable(_))) {
        // After some errors SQLite has rolled back the transaction by itself; later turns would not be in it.
        line.open = None;
    }
    drop(line);
    let done = done?;
    let outcome = outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
    match outcome {
        Some(Ok(())) => Ok(done),
        Some(Err(error)) => Err(StoreError::Unavailable(sqlx::Error::AnyDriverError(Box::new(error)))),
        None => Err(rolled_back()),
    }
}

fn rolled_back() -> StoreError {
    StoreError::Unavailable(sqlx::Error::AnyDriverError(Box::new(RolledBack)))
}

#[derive(Debug, thiserror::Error)]
#[error("the transaction was rolled back because of another statement in it")]
struct RolledBack;

#[cfg(test)]
mod tests;
