//! Writers in line share transactions, and none is told too early or hurt by another.

use std::future::pending;

use futures_util::future::{join, join_all};
use tokio::sync::oneshot;

use super::*;
use crate::store::sqlite::pools;

/// A line over a database with a table of different numbers.
struct Fixture {
    pool: SqlitePool,
    /// The database's; removed at the end.
    _directory: tempfile::TempDir,
    turns: Turns,
}

impl Fixture {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("numbers.db").display());
        let pool = pools(&url.parse().unwrap()).await.unwrap().write;
        sqlx::query("create table numbers (number integer primary key)").execute(&pool).await.unwrap();
        Self { pool, _directory: directory, turns: Turns::default() }
    }

    async fn insert(&self, number: i64) -> Result<(), StoreError> {
        let work = async |connection: &mut SqliteConnection| insert(connection, number).await;
        self.turns.take(&self.pool, work).await
    }

    async fn insert_both(&self, numbers: (i64, i64), ending: fn(()) -> Ending<()>) -> Result<(), StoreError> {
        let work = async |connection: &mut SqliteConnection| {
            insert(connection, numbers.0).await?;
            insert(connection, numbers.1).await?;
            Ok(ending(()))
        };
        self.turns.take_transaction(&self.pool, work).await.map(drop)
    }

    /// Runs `work` with everybody in line before the first one's turn; returns how many transactions it took.
    async fn in_line<T>(&self, work: impl Future<Output = T>) -> (T, u64) {
        let held = self.turns.line.clone().lock_owned().await;
        let before = held.number;
        // Polled first, everybody is in line when the line begins to move.
        let (done, ()) = join(work, async { drop(held) }).await;
        let after = self.turns.line.lock().await.number;
        (done, after - before)
    }

    async fn numbers(&self) -> Vec<i64> {
        sqlx::query_scalar("select number from numbers order by number").fetch_all(&self.pool).await.unwrap()
    }
}

async fn insert(connection: &mut SqliteConnection, number: i64) -> Result<(), StoreError> {
    sqlx::query("insert into numbers values ($1)").bind(number).execute(connection).await?;
    Ok(())
}

#[tokio::test]
async fn those_in_line_share_one_transaction() {
    let fixture = Fixture::new().await;
    let (done, transactions) = fixture.in_line(join_all((0..8).map(|number| fixture.insert(number)))).await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    assert_eq!(transactions, 1);
    assert_eq!(fixture.numbers().await, (0..8).collect::<Vec<_>>());
}

#[tokio::test]
async fn while_the_intake_waits_a_transaction_ends_after_its_share() {
    let fixture = Fixture::new().await;
    let slow = async {
        let work = async |connection: &mut SqliteConnection| {
            insert(connection, 1).await?;
            tokio::time::sleep(2 * GivingWay::share()).await;
            Ok(())
        };
        fixture.turns.take(&fixture.pool, work).await
    };
    let batch = fixture.turns.begin_batch();
    let (done, transactions) = fixture.in_line(join(slow, fixture.insert(2))).await;
    drop(batch);
    assert!(done.0.is_ok() && done.1.is_ok(), "{done:?}");
    assert_eq!(transactions, 2);
    assert_eq!(fixture.numbers().await, [1, 2]);
}

#[tokio::test]
async fn one_that_is_refused_fails_alone_and_leaves_nothing() {
    let fixture = Fixture::new().await;
    fixture.insert(7).await.unwrap();
    let both = join_all([(1, 2), (3, 7), (4, 5)].map(|both| fixture.insert_both(both, Ending::Commit)));
    let ((both, single), transactions) = fixture.in_line(join(both, fixture.insert(7))).await;
    assert!(both[0].is_ok() && both[2].is_ok(), "{both:?}");
    assert!(matches!(both[1], Err(StoreError::Rejected(_))), "{both:?}");
    assert!(matches!(single, Err(StoreError::Rejected(_))), "{single:?}");
    assert_eq!(transactions, 1);
    assert_eq!(fixture.numbers().await, [1, 2, 4, 5, 7]);
}

#[tokio::test]
async fn one_that_is_left_writes_nothing_and_the_others_stay() {
    let fixture = Fixture::new().await;
    let work = join(fixture.insert_both((1, 2), Ending::Leave), fixture.insert(3));
    let ((left, behind), transactions) = fixture.in_line(work).await;
    left.unwrap();
    behind.unwrap();
    assert_eq!(transactions, 1);
    assert_eq!(fixture.numbers().await, [3]);
}

#[tokio::test]
async fn one_that_is_given_up_half_way_takes_the_others_with_it_and_the_line_goes_on() {
    let fixture = Fixture::new().await;
    let (inserted, half_way) = oneshot::channel();
    let half = async |connection: &mut SqliteConnection| {
        insert(connection, 1).await?;
        inserted.send(()).unwrap();
        pending::<Result<Ending<()>, StoreError>>().await
    };
    let given_up = async {
        tokio::select! {
            _ = fixture.turns.take_transaction(&fixture.pool, half) => panic!("it was carried through"),
            inserted = half_way => inserted.unwrap(),
        }
    };
    let work = join(fixture.insert(2), join(given_up, fixture.insert(3)));
    let ((before, ((), behind)), transactions) = fixture.in_line(work).await;
    assert!(matches!(before, Err(StoreError::Unavailable(_))), "{before:?}");
    behind.unwrap();
    fixture.insert(4).await.unwrap();
    assert_eq!(transactions, 2);
    assert_eq!(fixture.numbers().await, [3, 4]);
}

#[tokio::test]
async fn what_ends_the_transaction_fails_those_that_share_it_and_nobody_else() {
    let fixture = Fixture::new().await;
    let ending = fixture.turns.take(&fixture.pool, async |connection| {
        // As SQLite does by itself when the disk is full.
        sqlx::query("rollback").execute(connection).await?;
        Err::<(), _>(StoreError::Unavailable(sqlx::Error::WorkerCrashed))
    });
    let work = async { join_all([fixture.insert(1), fixture.insert(2)]).await };
    let ((shared, (ended, behind)), transactions) =
        fixture.in_line(join(work, join(ending, fixture.insert(3)))).await;
    for refused in shared.iter().chain([&ended]) {
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    }
    behind.unwrap();
    assert_eq!(transactions, 2);
    assert_eq!(fixture.numbers().await, [3]);
}
