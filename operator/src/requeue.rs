//! Queues a recording or an analysis again, whoever found that it has to be.

use callvine_shared::store::{DeadLetterId, DeadLetterKind, Store, StoreError};
use chrono::Utc;

/// Queues a recording for the workers, or asks for an analysis, again. `false`: it is settled, or a worker has it.
pub(crate) async fn requeue(store: &Store, id: DeadLetterId) -> Result<bool, StoreError> {
    match id.kind {
        DeadLetterKind::Recording => store.requeue_recording(id.call_id, Utc::now()).await,
        DeadLetterKind::Analysis => store.requeue_analysis(id.call_id, Utc::now()).await,
    }
}
