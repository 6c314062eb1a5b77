//! Refusals: an operation that answers that nothing was done has left nothing written, on either database.

use callvine_shared::call::CallId;
use callvine_shared::recording::{Cause, Reason};
use callvine_shared::store::{Begun, DeadLetterId, DeadLetterKind, Retried, Store};
use chrono::Utc;
use harness::Database;

use super::{LATE, UNREADABLE, analysis_of, begin, one_call, seconds, stored};

contract!(
    tables;
    a_call_that_does_not_exist_gets_no_recording,
    a_call_without_a_stored_recording_gets_no_analysis,
    a_recording_whose_call_is_gone_is_not_fetched_anew,
    a_dead_letter_whose_call_is_gone_stays_one,
    a_recording_whose_call_is_gone_is_not_postponed,
);

const NOBODY: CallId = CallId(404);
const WHY: Cause<'static> = Cause { reason: Reason::NotFound, last_error: "the host answered 404" };

async fn a_call_that_does_not_exist_gets_no_recording(store: &Store, tables: &Database) {
    assert!(!store.requeue_recording(NOBODY, Utc::now()).await.unwrap());
    assert_eq!(tables.count("from recordings").await, Some(0));
    assert_eq!(tables.count("from outbox").await, Some(0));
}

async fn a_call_without_a_stored_recording_gets_no_analysis(store: &Store, tables: &Database) {
    let id = one_call(store).await;
    for id in [id, NOBODY] {
        assert!(!store.requeue_analysis(id, Utc::now()).await.unwrap());
        assert_eq!(tables.count("from analyses").await, Some(0));
    }
    assert_eq!(tables.count("from outbox").await, Some(1), "that of the call itself");
}

async fn a_recording_whose_call_is_gone_is_not_fetched_anew(store: &Store, tables: &Database) {
    let id = one_call(store).await;
    assert!(store.recording_stored(id, &stored(), Utc::now()).await.unwrap());
    tables.execute("delete from call_logs").await;
    tables.execute("delete from outbox").await;
    assert!(!store.refetch_recording(id, &stored().location, Utc::now()).await.unwrap());
    let kept = "from recordings where status = 'stored' and location is not null and sha256 is not null";
    assert_eq!(tables.count(kept).await, Some(1));
    assert_eq!(tables.count("from outbox").await, Some(0));
}

async fn a_dead_letter_whose_call_is_gone_stays_one(store: &Store, tables: &Database) {
    let (failed, unheard) = (one_call(store).await, one_call(store).await);
    let now = Utc::now();
    assert!(store.recording_failed(failed, WHY, now).await.unwrap());
    assert!(store.recording_stored(unheard, &stored(), now).await.unwrap());
    assert!(store.analysis_failed(unheard, UNREADABLE, now).await.unwrap());
    tables.execute("delete from call_logs").await;
    tables.execute("delete from outbox").await;
    for id in [DeadLetterId { kind: DeadLetterKind::Recording, call_id: failed }, analysis_of(unheard)] {
        assert_eq!(store.retry_dead_letter(id, now).await.unwrap(), Retried::Unknown);
    }
    assert_eq!(
        tables.count("from recordings where status = 'failed' and failed_at is not null").await,
        Some(1)
    );
    assert_eq!(
        tables.count("from analyses where status = 'failed' and failed_at is not null").await,
        Some(1)
    );
    assert_eq!(tables.count("from outbox").await, Some(0));
}

async fn a_recording_whose_call_is_gone_is_not_postponed(store: &Store, tables: &Database) {
    let id = one_call(store).await;
    let now = Utc::now();
    assert!(matches!(begin(store, id, now).await, Begun::Leased(_)));
    tables.execute("delete from call_logs").await;
    tables.execute("delete from outbox").await;
    store.postpone_recording(id, LATE, now + seconds(5), now).await.unwrap();
    assert_eq!(tables.count("from recordings where attempts = 0 and next_attempt_at is null").await, Some(1));
    assert_eq!(tables.count("from outbox").await, Some(0));
}
