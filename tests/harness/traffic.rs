//! Calls that keep coming: lanes of a provider, each of which posts one call after the other at an even pace, and each
//! call until it is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::provider::{Outcome, Provider};

/// Running traffic. Dropping it stops it too, without waiting.
pub struct Traffic {
    stop: CancellationToken,
    lanes: JoinHandle<()>,
}

impl Traffic {
    /// Starts `lanes` lanes, each posting a call of `next_call` every `pace`, or as often as the answers come. A
    /// call that isn't acknowledged is posted again at the next beat.
    pub fn start(
        provider: &Arc<Provider>,
        (lanes, pace): (usize, Duration),
        next_call: impl Fn() -> Value + Send + Sync + Clone + 'static,
    ) -> Self {
        let stop = CancellationToken::new();
        let lanes = (0..lanes).map(|_| {
            let (provider, stop, next_call) = (Arc::clone(provider), stop.clone(), next_call.clone());
            async move {
                let mut beat = interval(pace);
                beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let mut call = next_call();
                while stop.run_until_cancelled(beat.tick()).await.is_some() {
                    if let Outcome::Acknowledged(_) = provider.post(&call).await {
                        call = next_call();
                    }
                }
            }
        });
        let lanes: Vec<_> = lanes.collect();
        let lanes = tokio::spawn(async move {
            join_all(lanes).await;
        });
        Self { stop, lanes }
    }

    /// Stops it; returns when every post that was under way is answered, or known to be unanswered.
    ///
    /// # Panics
    /// When a lane has failed: a 201 wasn't the published answer.
    pub async fn stop(self) {
        self.stop.cancel();
        self.lanes.await.expect("the provider got the published answers");
    }
}
