//! A change of API keys is heard of by every process of PostgreSQL, and by none of SQLite, which polls.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use callvine_shared::store::{Store, Successor};
use chrono::Utc;
use harness::{Database, PATIENCE};
use tokio::time::timeout;

use super::keys::key;
use super::seconds;

contract!(tables; a_change_of_keys_is_heard_of, a_lost_connection_is_made_again_and_told_of);

/// Another process's store of the same database.
async fn elsewhere(tables: &Database) -> Store {
    Store::connect(tables.url()).await.unwrap()
}

async fn heard(listening: impl Future<Output = Result<(), callvine_shared::store::StoreError>>, of: &str) {
    timeout(PATIENCE, listening).await.unwrap_or_else(|_| panic!("nothing is heard of {of}")).unwrap();
}

/// Whether the future is ready when it is first asked, in a runtime that has nothing else to do.
fn is_ready(future: impl Future) -> bool {
    matches!(pin!(future).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(_))
}

async fn a_change_of_keys_is_heard_of(store: &Store, tables: &Database) {
    let other = elsewhere(tables).await;
    if store.is_embedded() {
        let id = other.create_api_key(&key(1), Utc::now()).await.unwrap();
        assert!(!is_ready(store.api_keys_changed()), "SQLite tells nothing");
        assert!(other.revoke_api_key(id, Utc::now()).await.unwrap());
        return;
    }
    heard(store.api_keys_changed(), "the beginning").await;
    let now = Utc::now();
    let first = other.create_api_key(&key(1), now).await.unwrap();
    heard(store.api_keys_changed(), "a new key").await;
    let successor = Successor { prefix: key(2).prefix, digest: key(2).digest, expires_at: None };
    let until = now + seconds(60);
    let second = other.replace_api_key(first, &successor, until, now).await.unwrap().unwrap();
    heard(store.api_keys_changed(), "a replaced key").await;
    // Its use is no change: a reader of the keys would wake itself, and every other one.
    other.record_key_use(&[(second, now)]).await.unwrap();
    let unheard = timeout(Duration::from_millis(200), store.api_keys_changed()).await;
    assert!(unheard.is_err(), "{unheard:?}");
    // The wait was given up half-way, so the next one begins anew and says so.
    heard(store.api_keys_changed(), "the beginning").await;
    assert!(other.revoke_api_key(second, now).await.unwrap());
    heard(store.api_keys_changed(), "a revoked key").await;
}

async fn a_lost_connection_is_made_again_and_told_of(store: &Store, tables: &Database) {
    if store.is_embedded() {
        assert!(!is_ready(store.api_keys_changed()), "there is no connection");
        return;
    }
    heard(store.api_keys_changed(), "the beginning").await;
    // A plain `and` may end the connections of other databases first, and ask for the database then.
    let ended = tables
        .count(
            "from pg_stat_activity where case when datname = current_database() and query ilike 'listen %'
                 then pg_terminate_backend(pid) else false end",
        )
        .await;
    assert_eq!(ended, Some(1), "one connection listens");
    heard(store.api_keys_changed(), "the new connection").await;
    elsewhere(tables).await.create_api_key(&key(1), Utc::now()).await.unwrap();
    heard(store.api_keys_changed(), "a new key").await;
}
