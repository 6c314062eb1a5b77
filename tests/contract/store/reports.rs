//! Reports have connections of their own: however many are slow, ingest is not kept waiting.

use callvine_shared::call::CallId;
use callvine_shared::store::{Store, StoreError, Window};
use chrono::{DateTime, Utc};
use harness::{PATIENCE, Postgres};
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;

use super::{call, received};

/// More than the connections for reports and for everything else together.
const REPORTS: usize = 20;

/// Every call there is.
const ALL: Window = Window { from: DateTime::UNIX_EPOCH, to: DateTime::<Utc>::MAX_UTC };

#[tokio::test]
async fn reports_that_hang_keep_no_call_from_being_stored() {
    let url = Postgres::shared().await.database().await;
    let store = Store::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    store.insert_calls(&[received(call("https://example.com/call.wav"))]).await.unwrap();
    let mut holder = PgConnection::connect(&url).await.unwrap();
    let mut lock = holder.begin().await.unwrap();
    sqlx::query("lock table analyses in access exclusive mode").execute(&mut *lock).await.unwrap();

    let mut reports = JoinSet::new();
    for _ in 0..REPORTS {
        let store = store.clone();
        reports.spawn(async move { store.audit_calls(ALL, CallId(0)).await });
    }
    // Those that find no free connection are refused; the others hang until the lock is gone.
    let refused = tokio::time::timeout(PATIENCE, reports.join_next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    for _ in 0..REPORTS {
        store.insert_calls(&[received(call("https://example.com/call.wav"))]).await.unwrap();
        store.claim_due(Utc::now(), 10).await.unwrap();
    }

    lock.rollback().await.unwrap();
    let mut answered = 0;
    while let Some(report) = tokio::time::timeout(PATIENCE, reports.join_next()).await.unwrap() {
        answered += usize::from(report.unwrap().is_ok());
    }
    assert!((1..REPORTS).contains(&answered), "{answered} reports were answered");
}
