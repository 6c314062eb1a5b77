//! Calls that keep coming: lanes of a provider, each of which posts one call after the other at an even pace, and each
//! call until it is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::provider::{Outcome, Provider};

/// A call with a key is posted again and again for at most this long: a process is killed and started meanwhile.
const KEYED_DEADLINE: Duration = Duration::from_secs(120);

/// Running traffic. Dropping it stops it too, without waiting.
pub struct Traffic {
    stop: CancellationToken,
    lanes: JoinHandle<()>,
}

#[derive(Clone, Copy)]
enum Posts {
    Plain,
    Keyed,
}

impl Posts {
    /// Whether the call is acknowledged.
    async fn post(self, provider: &Provider, call: &Value) -> bool {
        match self {
            Self::Plain => matches!(provider.post(call).await, Outcome::Acknowledged(_)),
            Self::Keyed => {
                provider.insist(call, Instant::now() + KEYED_DEADLINE).await;
                true
            }
        }
    }
}

impl Traffic {
    /// Starts `lanes` lanes, each posting a call of `next_call` every `pace`, or as often as the answers come. A
    /// call that isn't acknowledged is posted again at the next beat.
    pub fn start(
        provider: &Arc<Provider>,
        (lanes, pace): (usize, Duration),
        next_call: impl Fn() -> Value + Send + Sync + Clone + 'static,
    ) -> Self {
        Self::with(provider, (lanes, pace), Posts::Plain, next_call)
    }

    /// The same with an `Idempotency-Key` a call. When it is stopped, every call that was posted is acknowledged.
    pub fn start_keyed(
        provider: &Arc<Provider>,
        (lanes, pace): (usize, Duration),
        next_call: impl Fn() -> Value + Send + Sync + Clone + 'static,
    ) -> Self {
        Self::with(provider, (lanes, pace), Posts::Keyed, next_call)
    }

    fn with(
        provider: &Arc<Provider>,
        (lanes, pace): (usize, Duration),
        posts: Posts,
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
                    if posts.post(&provider, &call).await {
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
