//! From a queue to a handler: takes so many messages at a time, and acknowledges each once its effects are committed.

use std::sync::Arc;

use callvine_shared::bus::{BusError, Consumer, Delivery};
use callvine_shared::call::CallId;
use callvine_shared::error_chain::Chain;
use callvine_shared::event::call_id_of;
use callvine_shared::store::StoreError;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Gives the call of each message to `handler`, each with one of these permits, until the shutdown; then waits for those
/// in hand. The handler may get one call twice, also at the same time. When it returns, its effects are committed.
pub(crate) async fn run<F>(
    mut consumer: Consumer,
    handler: impl Fn(CallId) -> F + Clone + Send + 'static,
    permits: Arc<Semaphore>,
    shutdown: CancellationToken,
) where
    F: Future<Output = Result<(), StoreError>> + Send + 'static,
{
    let in_hand = TaskTracker::new();
    loop {
        // The permit comes first: work on a message begins as soon as it is taken.
        let permit = tokio::select! {
            () = shutdown.cancelled() => break,
            permit = permits.clone().acquire_owned() => permit,
        };
        let Ok(permit) = permit else { break };
        let delivery = tokio::select! {
            () = shutdown.cancelled() => break,
            delivery = consumer.next() => delivery,
        };
        let Some(delivery) = delivery else { break };
        let (handler, shutdown) = (handler.clone(), shutdown.clone());
        in_hand.spawn(async move {
            handle(delivery, handler, &shutdown).await;
            drop(permit);
        });
    }
    in_hand.close();
    in_hand.wait().await;
    consumer.close().await;
}

async fn handle<F>(delivery: Delivery, handler: impl Fn(CallId) -> F, shutdown: &CancellationToken)
where
    F: Future<Output = Result<(), StoreError>>,
{
    let call_id = match call_id_of(&delivery.body) {
        Ok(call_id) => call_id,
        Err(error) => {
            tracing::error!(error = %Chain(&error), "a message is not one of ours and goes to the dead letters");
            return answered(delivery.bury().await);
        }
    };
    match handler(call_id).await {
        Ok(()) => answered(delivery.done().await),
        // Dropping the delivery hands it back: it comes again, to this worker or another.
        Err(error) if shutdown.is_cancelled() => {
            tracing::info!(call.id = call_id.0, error = %Chain(&error), "handing back call {call_id} at the shutdown");
        }
        Err(error) => {
            tracing::error!(call.id = call_id.0, error = %Chain(&error), "cannot settle call {call_id}");
            answered(delivery.bury().await);
        }
    }
}

fn answered(answer: Result<(), BusError>) {
    if let Err(error) = answer {
        tracing::warn!(error = %Chain(&error), "a message could not be acknowledged and will come again");
    }
}
