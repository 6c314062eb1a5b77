//! Checkpoints copy the write-ahead log to the database file, beside the connection that writes.
//!
//! SQLite does it by itself at the end of the commit that fills the log; every writer in line then waits for a copy of
//! many pages and for two syncs. Done beside that connection, little by little, commits go on meanwhile.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::error_chain::Chain;
use crate::store::{ACQUIRE_TIMEOUT, StoreError};

/// Transactions from one checkpoint to the next: a call that comes alone needs no checkpoint of its own.
const TRANSACTIONS: u32 = 32;

/// From the end of one checkpoint to the next at least. Longer, there is more to copy at once, and the commits wait for
/// the disk behind it: with 100 ms, their 99th percentile was up to ten times as long.
const PAUSE: Duration = Duration::from_millis(15);

/// The same after one that failed: its cause, a full disk for one, lasts, and each failure is logged.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Makes checkpoints for as long as it lives. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::store) struct Checkpoints {
    pool: SqlitePool,
    due: mpsc::Sender<()>,
}

impl Checkpoints {
    pub(super) fn start(options: SqliteConnectOptions) -> Self {
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options);
        // One pending request is enough: the next checkpoint covers every earlier commit.
        let (due, asked) = mpsc::channel(1);
        tokio::spawn(keep_up(pool.clone(), asked));
        Self { pool, due }
    }

    /// Counts the commits on a connection.
    pub(super) async fn watch(self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let mut transactions = 0;
        connection.lock_handle().await?.set_commit_hook(move || {
            transactions += 1;
            if transactions >= TRANSACTIONS && self.due.try_send(()).is_ok() {
                transactions = 0;
            }
            true
        });
        Ok(())
    }

    /// Ends them, after the one that is under way.
    pub(in crate::store) async fn close(&self) {
        self.pool.close().await;
    }
}

/// Makes checkpoints until the last sender is gone or the pool is closed.
async fn keep_up(pool: SqlitePool, mut asked: mpsc::Receiver<()>) {
    while asked.recv().await.is_some() && !pool.is_closed() {
        let pause = match checkpoint(&pool).await {
            Ok(()) => PAUSE,
            // Nothing is lost: the log has it all, and grows until this works again.
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "cannot copy the write-ahead log to the database");
                FAILURE_PAUSE
            }
        };
        sleep(pause).await;
    }
}

/// Copies as much as it can without making a reader or writer wait.
async fn checkpoint(pool: &SqlitePool) -> Result<(), StoreError> {
    sqlx::query("pragma wal_checkpoint(passive)").execute(pool).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::store::sqlite::{Pools, pools};

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn what_is_committed_reaches_the_database_file_without_the_writer() {
        const ROW_BYTES: usize = 8192;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rows.db");
        let Pools { write, checkpoints, .. } =
            pools(&SqliteConnectOptions::new().filename(&path)).await.unwrap();
        sqlx::query("create table rows (content blob)").execute(&write).await.unwrap();
        for _ in 0..2 * TRANSACTIONS {
            sqlx::query("insert into rows values (zeroblob($1))")
                .bind(i32::try_from(ROW_BYTES).unwrap())
                .execute(&write)
                .await
                .unwrap();
        }
        let wanted = u64::try_from(ROW_BYTES).unwrap() * u64::from(TRANSACTIONS);
        let begun = Instant::now();
        while std::fs::metadata(&path).unwrap().len() < wanted {
            assert!(begun.elapsed() < PATIENCE, "nothing was copied");
            sleep(PAUSE).await;
        }
        checkpoints.close().await;
        write.close().await;
    }
}
