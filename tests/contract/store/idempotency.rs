//! Marked calls: stored once, however often they are posted, and by whichever batch or process.

use std::time::Duration;

use callvine_shared::api_key::Environment;
use callvine_shared::call::CallId;
use callvine_shared::idempotency::{IdempotencyKey, Mark};
use callvine_shared::store::{MARKS_STEP, Outcome, ReceivedCall, Store, StoreError};
use chrono::{DateTime, Utc};
use harness::Database;

use super::{call, due, insert, received, seconds};

contract!(
    tables;
    a_repeated_post_is_the_same_call_and_leaves_nothing,
    fields_stand_for_a_call_as_a_key_does,
    a_batch_settles_its_own_marks_and_leaves_the_other_calls_alone,
    known_calls_are_told_from_new_ones_in_batches_of_any_size,
    an_expired_mark_stands_for_the_next_call,
    expired_marks_are_removed_in_steps,
    batches_of_several_processes_store_each_call_once,
    a_call_that_is_gone_is_still_known,
    a_refused_batch_uses_up_no_mark,
    a_batch_without_marks_writes_none,
);

fn received_at() -> DateTime<Utc> {
    "2024-01-15T10:30:00.75Z".parse().unwrap()
}

/// A call that was sent with this key and this body.
pub(super) fn marked(key: &str, body: &str) -> ReceivedCall {
    marked_at(key, body, received_at())
}

fn marked_at(key: &str, body: &str, received_at: DateTime<Utc>) -> ReceivedCall {
    let key = IdempotencyKey::parse(key.as_bytes()).unwrap();
    let mark = Mark::of_key("a client", key, body.as_bytes(), received_at);
    ReceivedCall { mark: Some(Box::new(mark)), ..received(call("https://example.com/call.wav")) }
}

fn same(id: CallId) -> Outcome {
    Outcome::Same { id, created_at: "2024-01-15T10:30:00Z".parse().unwrap() }
}

async fn a_repeated_post_is_the_same_call_and_leaves_nothing(store: &Store, tables: &Database) {
    let first = insert(store, &[marked("k", "{}")]).await[0];
    for _ in 0..2 {
        assert_eq!(store.insert_calls(&[marked("k", "{}")]).await.unwrap(), [same(first)]);
        assert_eq!(store.insert_calls(&[marked("k", "{ }")]).await.unwrap(), [Outcome::Conflict]);
    }
    let leased = store.insert_leased_calls(&[marked("k", "{}")]).await.unwrap();
    assert_eq!((leased.outcomes, leased.outbox_ids), (vec![same(first)], vec![]));
    for table in ["from call_logs", "from recordings", "from outbox", "from idempotency_marks"] {
        assert_eq!(tables.count(table).await, Some(1), "{table}");
    }
    let other = insert(store, &[marked("K", "{}")]).await[0];
    assert_ne!(other, first);
}

async fn fields_stand_for_a_call_as_a_key_does(store: &Store, _: &Database) {
    let post = |url: &str, after| {
        let mut post = received(call(url));
        let (env, lasts) = (Environment::Live, Duration::from_secs(60));
        let mark = Mark::of_fields("a client", env, &post.call, received_at() + seconds(after), lasts);
        post.mark = Some(Box::new(mark));
        post
    };
    let first = insert(store, &[post("https://example.com/1.wav", 0)]).await[0];
    insert(store, &[post("https://example.com/2.wav", 1)]).await;
    let again = [post("https://example.com/1.wav", 59)];
    assert_eq!(store.insert_calls(&again).await.unwrap(), [same(first)]);
    insert(store, &[post("https://example.com/1.wav", 60)]).await;
}

async fn a_batch_settles_its_own_marks_and_leaves_the_other_calls_alone(store: &Store, tables: &Database) {
    let numbered = |mut post: ReceivedCall, number: usize| {
        let mut call = (*post.call).clone();
        call.from_phone = number.to_string();
        post.call = call.into();
        post
    };
    let unmarked = || received(call("https://example.com/call.wav"));
    let known = insert(store, &[marked("known", "{}")]).await[0];
    let posts = [
        unmarked(),
        marked("a", "{}"),
        marked("known", "{}"),
        marked("a", "{}"),
        marked("a", "{ }"),
        unmarked(),
        marked("known", "{ }"),
        marked("b", "{}"),
        unmarked(),
    ];
    let batch: Vec<_> = posts.into_iter().enumerate().map(|(number, post)| numbered(post, number)).collect();
    let outcomes = store.insert_calls(&batch).await.unwrap();
    let ids: Vec<_> = outcomes.iter().map(|outcome| outcome.id()).collect();
    let [Some(first), Some(a), ..] = ids[..] else { panic!("{outcomes:?}") };
    assert_eq!(outcomes[1], Outcome::New(a));
    assert_eq!(outcomes[2..5], [same(known), same(a), Outcome::Conflict]);
    assert_eq!(outcomes[6], Outcome::Conflict);
    for new in [0, 1, 5, 7, 8] {
        let Outcome::New(id) = outcomes[new] else { panic!("{outcomes:?}") };
        let record = store.call(id, Some("a client")).await.unwrap().unwrap();
        assert_eq!(record.call.call.from_phone, new.to_string(), "the id is that of its own call");
    }
    assert_eq!(tables.count("from call_logs").await, Some(6));
    assert_eq!(tables.count("from recordings").await, Some(6));
    let events = due(store, Utc::now()).await;
    assert_eq!(events.len(), 6, "an event a call, and none for the others");
    assert_eq!(events[1].2["data"]["id"], first.0);
}

async fn known_calls_are_told_from_new_ones_in_batches_of_any_size(store: &Store, tables: &Database) {
    let mut stored = 0;
    for size in [1, 2, 9, 64, 513, 1500] {
        let keys: Vec<_> = (0..size).map(|number| format!("{size}/{number}")).collect();
        let every = |step: usize| keys.iter().step_by(step).map(|key| marked(key, "{}")).collect::<Vec<_>>();
        let known = insert(store, &every(2)).await;
        let all = store.insert_calls(&every(1)).await.unwrap();
        assert_eq!(
            all.iter().copied().step_by(2).collect::<Vec<_>>(),
            known.iter().copied().map(same).collect::<Vec<_>>()
        );
        assert!(all.iter().skip(1).step_by(2).all(|outcome| matches!(outcome, Outcome::New(_))));
        let again = store.insert_calls(&every(1)).await.unwrap();
        assert_eq!(again, all.iter().map(|outcome| same(outcome.id().unwrap())).collect::<Vec<_>>());
        stored += i64::from(size);
        assert_eq!(tables.count("from call_logs").await, Some(stored));
    }
}

async fn an_expired_mark_stands_for_the_next_call(store: &Store, tables: &Database) {
    let day = seconds(24 * 60 * 60);
    let first = insert(store, &[marked("k", "{}")]).await[0];
    let within = marked_at("k", "{}", received_at() + day - seconds(1));
    assert_eq!(store.insert_calls(&[within]).await.unwrap(), [same(first)]);
    let second = insert(store, &[marked_at("k", "another body", received_at() + day)]).await[0];
    let again = marked_at("k", "another body", received_at() + day + seconds(1));
    let created_at = "2024-01-16T10:30:00Z".parse().unwrap();
    assert_eq!(store.insert_calls(&[again]).await.unwrap(), [Outcome::Same { id: second, created_at }]);
    assert_eq!(tables.count("from idempotency_marks").await, Some(1));
}

async fn expired_marks_are_removed_in_steps(store: &Store, tables: &Database) {
    let later = received_at() + seconds(60);
    let step = u64::from(MARKS_STEP);
    let mut batch: Vec<_> = (0..=step).map(|number| marked(&number.to_string(), "{}")).collect();
    batch.push(marked_at("later", "{}", later));
    let last = *insert(store, &batch).await.last().unwrap();
    let expiry = received_at() + seconds(24 * 60 * 60);
    assert_eq!(store.remove_expired_marks(expiry - seconds(1)).await.unwrap(), 0);
    assert_eq!(store.remove_expired_marks(expiry).await.unwrap(), step);
    assert_eq!(store.remove_expired_marks(expiry).await.unwrap(), 1);
    assert_eq!(store.remove_expired_marks(expiry).await.unwrap(), 0);
    assert_eq!(tables.count("from idempotency_marks").await, Some(1));
    let outcomes = store.insert_calls(&[marked_at("later", "{}", later)]).await.unwrap();
    assert_eq!(outcomes[0].id(), Some(last), "its mark is left");
}

/// Goal: each call is stored once, and nobody fails, however the batches meet. Method: two processes' stores insert the same
/// marks in opposite orders, again and again, while a sweep runs.
async fn batches_of_several_processes_store_each_call_once(store: &Store, tables: &Database) {
    let other = Store::connect(tables.url()).await.unwrap();
    for round in 0..10 {
        let up: Vec<_> = (0..60).map(|number| marked(&format!("{round}/{number}"), "{}")).collect();
        let down: Vec<_> = up.iter().rev().cloned().collect();
        let expiry = received_at();
        let (one, two, three, four, swept) = tokio::join!(
            store.insert_calls(&up),
            other.insert_calls(&down),
            store.insert_calls(&down),
            other.insert_calls(&up),
            other.remove_expired_marks(expiry),
        );
        assert_eq!(swept.unwrap(), 0);
        let (one, mut two, mut three, four) = (one.unwrap(), two.unwrap(), three.unwrap(), four.unwrap());
        two.reverse();
        three.reverse();
        for number in 0..60 {
            let met = [one[number], two[number], three[number], four[number]];
            let new: Vec<_> = met.iter().filter(|outcome| matches!(outcome, Outcome::New(_))).collect();
            assert_eq!(new.len(), 1, "{met:?}");
            assert!(met.iter().all(|outcome| outcome.id() == new[0].id()), "{met:?}");
        }
    }
    assert_eq!(tables.count("from call_logs").await, Some(600));
}

async fn a_call_that_is_gone_is_still_known(store: &Store, tables: &Database) {
    let first = insert(store, &[marked("k", "{}")]).await[0];
    tables.execute("delete from outbox").await;
    tables.execute("delete from recordings").await;
    tables.execute("delete from call_logs").await;
    assert_eq!(store.insert_calls(&[marked("k", "{}")]).await.unwrap(), [same(first)]);
    assert_eq!(tables.count("from call_logs").await, Some(0));
}

async fn a_refused_batch_uses_up_no_mark(store: &Store, tables: &Database) {
    let mut bad = marked("bad", "{}");
    let mut unstorable = call("https://example.com/bad.wav");
    // The validation refuses U+0000, since PostgreSQL does; SQLite would take it.
    unstorable.from_phone = "a\0b".to_owned();
    bad.call = unstorable.into();
    match store.insert_calls(&[marked("good", "{}"), bad]).await {
        Err(StoreError::Rejected(_)) => {
            assert_eq!(tables.count("from idempotency_marks").await, Some(0));
            insert(store, &[marked("good", "{}"), marked("bad", "{}")]).await;
        }
        Ok(_) => assert!(store.is_embedded()),
        Err(error) => panic!("{error:?}"),
    }
}

async fn a_batch_without_marks_writes_none(store: &Store, tables: &Database) {
    insert(store, &vec![received(call("https://example.com/call.wav")); 3]).await;
    assert_eq!(tables.count("from idempotency_marks").await, Some(0));
    assert_eq!(tables.count("from call_logs").await, Some(3), "the same fields are no mark");
}
