//! A connection to PostgreSQL that breaks under a batch of calls: stored all the same, and once.

use callvine_shared::store::{Outcome, ReceivedCall, Store, StoreError};
use harness::{Database, Fsync, PATIENCE, Postgres, eventually};

use super::idempotency::marked;
use super::{call, insert, received};

/// Ends the sessions of everybody else.
const DISCONNECT: &str = "select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()";

/// Ends the sessions that have committed and wait for a standby to have it too.
const DISCONNECT_COMMITTED: &str = "select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and wait_event = 'SyncRep'";

async fn migrated(url: &str) -> (Store, Database) {
    let store = Store::connect(url).await.unwrap();
    store.migrate().await.unwrap();
    (store, Database::new(url))
}

fn batch(size: usize) -> Vec<ReceivedCall> {
    let numbered = |number| call(&format!("https://user:secret@example.com/{number}.wav"));
    (0..size).map(|number| received(numbered(number))).collect()
}

#[tokio::test]
async fn a_batch_whose_connection_was_closed_is_stored_over_another() {
    let url = Postgres::shared().await.database().await;
    let (store, database) = migrated(&url).await;
    let mut expected = 0;
    for size in [3, 5, 1] {
        let ids = store.insert_calls(&batch(size)).await.unwrap();
        expected += i64::try_from(ids.len()).unwrap();
        database.execute(DISCONNECT).await;
    }
    assert_eq!(database.count("from call_logs").await, Some(expected));
    assert_eq!(database.count("from recordings").await, Some(expected));
}

#[tokio::test]
async fn a_batch_after_the_database_was_restarted_is_stored() {
    let postgres = Postgres::start(Fsync::Off).await;
    let (store, database) = migrated(&postgres.database().await).await;
    for expected in 1..4 {
        store.insert_calls(&batch(1)).await.unwrap();
        postgres.restart().await;
        assert_eq!(database.count("from call_logs").await, Some(expected));
    }
    postgres.kill().await;
    postgres.restart().await;
    store.insert_calls(&batch(1)).await.unwrap();
}

/// Goal: a batch that was committed, and whose answer was lost, is answered with the ids that it has, and only when the
/// standby has it too, for which its commit had waited. Method: there is no such standby, so that a commit waits for as
/// long as it is wanted to; a session that is ended meanwhile stays committed.
#[tokio::test]
async fn a_batch_whose_answer_was_lost_after_the_commit_is_not_stored_again() {
    let postgres = Postgres::start(Fsync::On).await;
    let (store, database) = migrated(&postgres.database().await).await;
    store.insert_calls(&batch(2)).await.unwrap();
    postgres.set("synchronous_standby_names", "nobody").await;

    let inserting = tokio::spawn(async move { store.insert_calls(&batch(600)).await });
    for _ in 0..2 {
        eventually(PATIENCE, "a commit waits for the standby and is disconnected", async || {
            database.execute(DISCONNECT_COMMITTED).await > 0
        })
        .await;
    }
    postgres.set("synchronous_standby_names", "").await;
    let ids = inserting.await.unwrap().unwrap();

    assert_eq!(ids.len(), 600);
    assert_eq!(database.count("from call_logs").await, Some(602));
    assert_eq!(database.count("from recordings").await, Some(602));
    assert_eq!(database.count("from outbox").await, Some(2), "a row a batch");
}

/// Goal: when the answer of a batch with marked calls was lost after the commit, those that it stored are new and those of
/// earlier posts are not. Method: as above.
#[tokio::test]
async fn a_marked_batch_whose_answer_was_lost_after_the_commit_finds_its_own_calls_new() {
    let postgres = Postgres::start(Fsync::On).await;
    let (store, database) = migrated(&postgres.database().await).await;
    let known = insert(&store, &[marked("known", "{}")]).await[0];
    postgres.set("synchronous_standby_names", "nobody").await;

    let batch: Vec<_> = (0..600)
        .map(|number| match number {
            0 => marked("known", "{}"),
            1 => marked("known", "{ }"),
            // The second one of each pair is the same call.
            _ => marked(&(number / 2).to_string(), "{}"),
        })
        .chain(batch(2))
        .collect();
    let inserting = tokio::spawn(async move { store.insert_calls(&batch).await });
    for _ in 0..2 {
        eventually(PATIENCE, "a commit waits for the standby and is disconnected", async || {
            database.execute(DISCONNECT_COMMITTED).await > 0
        })
        .await;
    }
    postgres.set("synchronous_standby_names", "").await;
    let outcomes = inserting.await.unwrap().unwrap();

    assert!(matches!(outcomes[0], Outcome::Same { id, .. } if id == known), "{:?}", outcomes[0]);
    assert_eq!(outcomes[1], Outcome::Conflict);
    for pair in outcomes[2..600].chunks(2) {
        let Outcome::New(new) = pair[0] else { panic!("{pair:?}") };
        assert!(matches!(pair[1], Outcome::Same { id, .. } if id == new), "{pair:?}");
    }
    assert!(matches!(outcomes[600..], [Outcome::New(_), Outcome::New(_)]));
    assert_eq!(database.count("from call_logs").await, Some(1 + 299 + 2));
    assert_eq!(database.count("from recordings").await, Some(1 + 299 + 2));
    assert_eq!(database.count("from outbox").await, Some(2), "a row a batch");
}

/// Goal: a batch is not taken for stored because its ids are. Method: somebody else's call gets the next id, as after a
/// fail-over to a server that did not know yet which ids were given out.
#[tokio::test]
async fn a_batch_whose_ids_turn_out_to_be_somebody_elses_is_not_taken_for_stored() {
    let url = Postgres::shared().await.database().await;
    let (store, database) = migrated(&url).await;
    store.insert_calls(&batch(1)).await.unwrap();
    let strange =
        "insert into call_logs select id + 1, 'another client', from_phone, to_phone, handled_by, department,
        start_time, end_time, recording_url, title, created_at from call_logs";
    database.execute(strange).await;
    database.execute(DISCONNECT).await;
    let refused = store.insert_calls(&batch(1)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(database.count("from recordings").await, Some(1), "nothing was stored");
    store.insert_calls(&batch(1)).await.unwrap();
}
