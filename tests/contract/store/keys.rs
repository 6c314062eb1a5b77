//! API keys, and a database that was not migrated or is closed.

use std::time::Duration;

use callvine_shared::api_key::{Digest, Environment, Role};
use callvine_shared::store::{ApiKeyRow, NewApiKey, Store, StoreError, Successor};
use chrono::{DateTime, Utc};
use harness::{PATIENCE, Postgres};

use super::seconds;

contract!(
    keys_are_made_listed_used_and_revoked,
    a_key_is_replaced_by_one_with_its_rights_and_limits,
    a_key_that_counts_no_more_is_not_replaced,
    the_same_key_is_not_stored_twice,
    an_unmigrated_database_is_said_to_be_one,
    a_database_answers_until_it_is_closed,
);

pub(super) fn key(digest: u8) -> NewApiKey {
    NewApiKey {
        client: "a client".to_owned(),
        environment: Environment::Live,
        prefix: "cv_live_abcd".to_owned(),
        digest: Digest::from_bytes(&[digest; 32]).unwrap(),
        role: Role::Analyst,
        expires_at: Some("2027-01-01T00:00:00Z".parse().unwrap()),
        rate_per_second: Some(2.5),
        dedupe: Some(Duration::from_secs(3600)),
    }
}

async fn keys_are_made_listed_used_and_revoked(store: &Store) {
    let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
    let first = store.create_api_key(&key(1), now).await.unwrap();
    let second = store.create_api_key(&key(2), now).await.unwrap();
    store.record_key_use(&[(second, now + seconds(60))]).await.unwrap();
    assert!(store.revoke_api_key(first, now + seconds(120)).await.unwrap());
    assert!(!store.revoke_api_key(first, now).await.unwrap());
    assert!(!store.revoke_api_key(second + 1000, now).await.unwrap());
    let keys = store.api_keys().await.unwrap();
    assert_eq!(keys.iter().map(|key| key.id).collect::<Vec<_>>(), [first, second]);
    assert_eq!(keys[0].revoked_at, Some(now + seconds(120)));
    assert_eq!((keys[1].last_used_at, keys[1].revoked_at), (Some(now + seconds(60)), None));
    assert_eq!(keys[1].digest.as_bytes(), &[2; 32]);
    assert_eq!((keys[1].client.as_str(), keys[1].created_at), ("a client", now));
    let made = key(2);
    assert_eq!(
        (keys[1].role, keys[1].expires_at, keys[1].rate_per_second, keys[1].dedupe),
        (made.role, made.expires_at, made.rate_per_second, made.dedupe)
    );
}

fn successor(digest: u8, expires_at: Option<DateTime<Utc>>) -> Successor {
    let NewApiKey { prefix, digest, .. } = key(digest);
    Successor { prefix, digest, expires_at }
}

async fn a_key_is_replaced_by_one_with_its_rights_and_limits(store: &Store) {
    let made: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
    let (now, until) = (made + seconds(60), made + seconds(3600));
    let old = store.create_api_key(&key(1), made).await.unwrap();
    let new = store.replace_api_key(old, &successor(2, None), until, now).await.unwrap().unwrap();
    let keys = store.api_keys().await.unwrap();
    assert_eq!(keys.iter().map(|key| key.id).collect::<Vec<_>>(), [old, new]);
    assert_eq!(
        (keys[0].expires_at, keys[0].revoked_at),
        (Some(until), None),
        "the old one counts for a while"
    );
    assert_eq!((keys[1].expires_at, keys[1].created_at, keys[1].revoked_at), (None, now, None));
    assert_eq!((keys[1].digest, keys[1].last_used_at), (key(2).digest, None));
    let same =
        |key: &ApiKeyRow| (key.client.clone(), key.environment, key.role, key.rate_per_second, key.dedupe);
    assert_eq!(same(&keys[1]), same(&keys[0]));

    // A key that expires before anyway does so still.
    store.replace_api_key(old, &successor(3, Some(until)), until + seconds(1), now).await.unwrap().unwrap();
    let keys = store.api_keys().await.unwrap();
    assert_eq!((keys[0].expires_at, keys[2].expires_at), (Some(until), Some(until)));
}

async fn a_key_that_counts_no_more_is_not_replaced(store: &Store) {
    let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
    let expired = NewApiKey { expires_at: Some(now), ..key(1) };
    let expired = store.create_api_key(&expired, now - seconds(60)).await.unwrap();
    let revoked = store.create_api_key(&key(2), now).await.unwrap();
    assert!(store.revoke_api_key(revoked, now).await.unwrap());
    let before = format!("{:?}", store.api_keys().await.unwrap());
    for id in [expired, revoked, revoked + 1000] {
        let replaced = store.replace_api_key(id, &successor(3, None), now + seconds(60), now).await.unwrap();
        assert_eq!(replaced, None, "{id}");
    }
    assert_eq!(format!("{:?}", store.api_keys().await.unwrap()), before);
}

async fn the_same_key_is_not_stored_twice(store: &Store) {
    store.create_api_key(&key(1), Utc::now()).await.unwrap();
    let again = store.create_api_key(&key(1), Utc::now()).await;
    assert!(matches!(again, Err(StoreError::Rejected(_))), "{again:?}");
}

/// `store` is only there to say which database is meant.
async fn an_unmigrated_database_is_said_to_be_one(store: &Store) {
    let directory = tempfile::tempdir().unwrap();
    let url = if store.is_embedded() {
        format!("sqlite://{}/empty.db", directory.path().display())
    } else {
        Postgres::shared().await.database().await
    };
    let empty = Store::open(&url.parse().unwrap()).await.unwrap();
    let refused = empty.api_keys().await;
    assert!(matches!(refused, Err(StoreError::Mismatch(_))), "{refused:?}");
    tokio::time::timeout(PATIENCE, empty.close()).await.unwrap();
}

async fn a_database_answers_until_it_is_closed(store: &Store) {
    store.ping().await.unwrap();
    store.close().await;
    let refused = store.ping().await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}
