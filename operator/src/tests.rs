//! The promises to a caller that is not a terminal: everything can be spawned, functions that fail end it, and a broker
//! that is away is told apart from a failure.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use callvine_shared::api_key::Environment;
use callvine_shared::bus::Queues;
use callvine_shared::call::{CallId, NewCall};
use callvine_shared::recording::{Cause, Reason};
use callvine_shared::store::{DeadLetterId, DeadLetterKind, Outcome, ReceivedCall, Retried, Store, Window};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use crate::audit::{self, AuditError, Plan, Problem};
use crate::dead_letters::{DeadLetters, DeadLettersError, Selection};

/// A port on which nothing answers AMQP.
const AWAY: &str = "amqp://127.0.0.1:1";

/// A database with so many calls, whose recordings were all given up.
async fn given_up(calls: usize) -> (tempfile::TempDir, Store, Vec<DeadLetterId>) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/callvine.db", directory.path().display());
    let store = Store::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let call = NewCall {
        from_phone: "9087270291".to_owned(),
        to_phone: "8006000009".to_owned(),
        handled_by: "Agent Smith".to_owned(),
        department: None,
        start_time: NaiveDateTime::default(),
        end_time: NaiveDateTime::default(),
        recording_url: "https://example.com/call.wav".to_owned(),
    };
    let received = ReceivedCall {
        client: Arc::from("a client"),
        env: Environment::Live,
        call: Arc::new(call),
        created_at: "2024-01-15T10:30:00Z".parse().unwrap(),
        mark: None,
    };
    let mut letters = Vec::new();
    let outcomes = store.insert_calls(&vec![received; calls]).await.unwrap();
    for call_id in outcomes.into_iter().filter_map(Outcome::id) {
        let now = "2026-01-01T12:00:00Z".parse().unwrap();
        store.begin_recording(call_id, now, now + TimeDelta::seconds(15)).await.unwrap();
        let cause = Cause { reason: Reason::NotFound, last_error: "the host answered 404" };
        assert!(store.recording_failed(call_id, cause, now).await.unwrap());
        letters.push(DeadLetterId { kind: DeadLetterKind::Recording, call_id });
    }
    (directory, store, letters)
}

fn plan(store: &Store) -> Plan {
    Plan {
        store: store.clone(),
        queues: Queues::new(None, store),
        objects: None,
        window: Window { from: DateTime::UNIX_EPOCH, to: DateTime::<Utc>::MAX_UTC },
        stuck_after: Duration::ZERO,
        deep: false,
        repair: false,
    }
}

fn reader_left() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

/// Compiles only if a server can do all of it beside its other work.
#[tokio::test]
async fn a_server_can_spawn_it() {
    let (_directory, store, ids) = given_up(1).await;
    let work = async move {
        let letters = DeadLetters::new(store.clone(), Queues::new(None, &store));
        let mut pages = letters.pages(DeadLetterKind::Recording, CallId(0));
        assert_eq!(pages.next().await.unwrap().unwrap().len(), 1);
        assert!(pages.next().await.unwrap().is_none());
        assert_eq!(letters.show(ids[0]).await.unwrap().reason.as_deref(), Some("not_found"));
        assert!(letters.unread(DeadLetterKind::Recording, 1).await.unwrap().letters.is_empty());
        assert!(audit::run(plan(&store), &mut |_| Ok(())).await.is_ok());
        let retry = letters.retry(Selection::All, &mut |_, _| Ok(())).await.unwrap();
        assert_eq!((retry.queued, retry.unknown), (1, 0));
        assert!(retry.unswept.is_none());
    };
    tokio::spawn(work).await.unwrap();
}

#[tokio::test]
async fn a_retry_is_done_although_the_broker_is_away_and_says_so() {
    let (_directory, store, ids) = given_up(2).await;
    let letters = DeadLetters::new(store.clone(), Queues::new(Some(AWAY.parse().unwrap()), &store));
    let mut told = Vec::new();
    let mut sink = |id, retried| {
        told.push((id, retried));
        Ok(())
    };
    let retry = letters.retry(Selection::These(ids.clone()), &mut sink).await.unwrap();
    assert_eq!(retry.queued, 2);
    assert!(matches!(retry.unswept, Some(DeadLettersError::Queues(_))), "{:?}", retry.unswept);
    assert_eq!(told, ids.iter().map(|id| (*id, Retried::Queued)).collect::<Vec<_>>());
    let unread = letters.unread(DeadLetterKind::Recording, 0).await;
    assert!(matches!(unread, Err(DeadLettersError::Queues(_))), "{unread:?}");
    // It is pending now, and the broker can't say whether its message was unreadable.
    assert!(matches!(letters.show(ids[0]).await, Err(DeadLettersError::Queues(_))));
}

#[tokio::test]
async fn a_retry_that_can_tell_nobody_ends_at_once() {
    let (_directory, store, ids) = given_up(3).await;
    let letters = DeadLetters::new(store.clone(), Queues::new(None, &store));
    let mut told = 0;
    let mut sink = |_, _| {
        told += 1;
        Err(reader_left())
    };
    let retry = letters.retry(Selection::All, &mut sink).await;
    assert!(matches!(retry, Err(DeadLettersError::Sink(_))), "{retry:?}");
    assert_eq!(told, 1);
    assert!(store.dead_letter(ids[0]).await.unwrap().is_none(), "the first one is queued");
    assert!(store.dead_letter(ids[1]).await.unwrap().is_some(), "the others are not");
}

#[tokio::test]
async fn an_audit_hands_on_each_finding_and_ends_when_nobody_takes_them() {
    let (_directory, store, ids) = given_up(2).await;
    // Their dead letters are in the outbox; without it, they are lost.
    let events: Vec<i64> = store.audit_outbox(0).await.unwrap().iter().map(|row| row.id).collect();
    assert!(!events.is_empty());
    store.remove_published(&events).await.unwrap();
    let mut found = Vec::new();
    let mut sink = |finding: &audit::Finding| {
        found.extend(finding.call_id.filter(|_| finding.problem == Problem::DeadLetterMissing));
        Ok(())
    };
    let counts = audit::run(plan(&store), &mut sink).await.unwrap();
    assert_eq!((counts.calls, counts.failed, counts.problems), (2, 2, 2));
    assert_eq!(found, ids.iter().map(|id| id.call_id.0).collect::<Vec<_>>());

    let mut seen = 0;
    let mut sink = |_: &audit::Finding| {
        seen += 1;
        Err(reader_left())
    };
    let ended = audit::run(plan(&store), &mut sink).await;
    assert!(matches!(ended, Err(AuditError::Sink(_))), "{ended:?}");
    assert_eq!(seen, 1);
}
