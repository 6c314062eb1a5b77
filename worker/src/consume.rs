//! From a queue to a handler: so many at a time, and a message is done only after its effects are committed.

use std::sync::Arc;
use std::time::Duration;

use callvine_shared::bus::{Consumer, Delivery};
use callvine_shared::error_chain::Chain;
use callvine_shared::event::call_id_of;
use callvine_shared::retry::backoff;
use callvine_shared::store::StoreError;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::recording::Recordings;

/// The first wait when the database is away, doubled up to [`LONGEST_DOUBLINGS`] times.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// 200 ms doubled five times is 6.4 s, so work goes on within seconds of the database's return.
const LONGEST_DOUBLINGS: u32 = 6;

/// Takes recordings from the consumer until the shutdown, `most_in_hand` at a time, and then waits for those in hand.
pub(crate) async fn run(
    mut consumer: Consumer,
    recordings: Arc<Recordings>,
    most_in_hand: usize,
    shutdown: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(most_in_hand));
    let in_hand = TaskTracker::new();
    loop {
        // The permit comes first: a message that is taken is worked on at once.
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
        let (recordings, shutdown) = (recordings.clone(), shutdown.clone());
        in_hand.spawn(async move {
            handle(delivery, &recordings, &shutdown).await;
            drop(permit);
        });
    }
    in_hand.close();
    in_hand.wait().await;
    consumer.close().await;
}

async fn handle(delivery: Delivery, recordings: &Recordings, shutdown: &CancellationToken) {
    let call_id = match call_id_of(&delivery.body) {
        Ok(call_id) => call_id,
        Err(error) => {
            tracing::error!(error = %Chain(&error), "a message is not one of ours and goes to the dead letters");
            return settle(delivery.bury().await);
        }
    };
    match recordings.process(call_id, shutdown).await {
        Ok(()) => settle(delivery.done().await),
        // Handed back by being dropped: it comes again, to this worker or another.
        Err(error) if shutdown.is_cancelled() => {
            tracing::info!(call.id = call_id.0, error = %Chain(&error), "handing back call {call_id} at the shutdown");
        }
        Err(error) => {
            tracing::error!(call.id = call_id.0, error = %Chain(&error), "cannot settle the recording of call {call_id}");
            settle(delivery.bury().await);
        }
    }
}

fn settle(answer: Result<(), callvine_shared::bus::BusError>) {
    if let Err(error) = answer {
        tracing::warn!(error = %Chain(&error), "a message could not be acknowledged and will come again");
    }
}

/// Does it again while the database is away. Gives up at the shutdown, and on what waiting doesn't mend.
pub(crate) async fn while_unavailable<T, F>(
    shutdown: &CancellationToken,
    operation: impl Fn() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut attempt = 0;
    loop {
        match operation().await {
            Err(error @ StoreError::Unavailable(_)) if !shutdown.is_cancelled() => {
                tracing::warn!(error = %Chain(&error), "waiting for the database");
                attempt = (attempt + 1).min(LONGEST_DOUBLINGS);
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = tokio::time::sleep(backoff(FIRST_WAIT, attempt)) => {}
                }
            }
            settled => return settled,
        }
    }
}
