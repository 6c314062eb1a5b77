//! Takes recordings past the queue for clients that another one's flood keeps waiting.
//!
//! The queue is first come, first served, so ten thousand messages of one client come before the first of another one. While
//! this worker can take hardly a message more, it asks the database which recordings are due, and takes those of clients that
//! have less than their share in hand. Their own messages find them settled later, or leased.

use std::sync::Arc;
use std::time::{Duration, Instant};

use callvine_shared::call::CallId;
use callvine_shared::error_chain::Chain;
use callvine_shared::pause::pause;
use callvine_shared::store::{Store, StoreError, WaitingSpan};
use chrono::Utc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::in_hand::InHand;
use crate::recording::Recordings;

/// The pause between two looks: well below the ten seconds that a client's first recording may wait for another's flood.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The longest pause, after a look at a slow database.
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// A pause is at least so many times as long as the look before it, so that looking takes a tenth of the database's time.
const PAUSE_TO_LOOK: u32 = 10;

/// Calls that one question covers. A look asks two: one for the newest calls, and one for a step back through the older
/// ones.
const STEP: i64 = 10_000;

/// Steps go back so many calls from the newest, then begin anew: a flood of hours.
const BACK_MAX: i64 = 500_000;

/// Recordings that one question brings at most.
const FOUND_MAX: i64 = 256;

/// Takes recordings past the queue.
pub(crate) struct Ahead {
    pub(crate) recordings: Arc<Recordings>,
    pub(crate) store: Store,
    pub(crate) in_hand: InHand,
    /// Recordings taken past the queue that may be in hand at once, beside the messages.
    pub(crate) most: usize,
}

impl Ahead {
    /// Looks again and again until the shutdown; then waits for what was taken.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let slots = Arc::new(Semaphore::new(self.most));
        let tasks = TaskTracker::new();
        let mut older = 0;
        let mut wait = LOOK_EVERY;
        while pause(wait, &shutdown).await {
            wait = LOOK_EVERY;
            let free = slots.available_permits();
            if free == 0 || !self.in_hand.is_full() {
                continue;
            }
            let began = Instant::now();
            let found = match self.look(free, &mut older).await {
                Ok(found) => found,
                Err(error) => {
                    // Consumer and relay log the same trouble louder.
                    tracing::debug!(error = %Chain(&error), "cannot look for the recordings of other clients");
                    continue;
                }
            };
            wait = (began.elapsed() * PAUSE_TO_LOOK).clamp(LOOK_EVERY, PAUSE_MAX);
            for call_id in found {
                let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { break };
                let (recordings, ending) = (Arc::clone(&self.recordings), shutdown.clone());
                tasks.spawn(async move {
                    if let Err(error) = recordings.process_ahead(call_id, &ending).await {
                        tracing::info!(call.id = call_id.0, error = %Chain(&error), "call {call_id} waits for its message");
                    }
                    drop(slot);
                });
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    /// Recordings of clients that have less than their share in hand, for so many free slots. `older` is the call at which
    /// the next step back begins.
    async fn look(&self, free: usize, older: &mut i64) -> Result<Vec<CallId>, StoreError> {
        let Some(CallId(newest)) = self.store.newest_call().await? else { return Ok(Vec::new()) };
        let newer = newest - STEP;
        if *older <= (newest - BACK_MAX).max(0) || *older > newer {
            *older = newer;
        }
        // One client never takes all slots at once: whether it has its share is seen only after that.
        let per_client = i64::try_from(free.div_ceil(2)).unwrap_or(1);
        let mut found = Vec::new();
        for last in [newest, *older] {
            let (after, last) = (CallId(last - STEP), CallId(last));
            let span = WaitingSpan { after, last, per_client, limit: FOUND_MAX };
            if last.0 > 0 {
                found.extend(self.store.waiting_recordings(span, Utc::now()).await?);
            }
        }
        *older -= STEP;
        let is_kept_waiting = |client: &str| !self.in_hand.has_its_share(client);
        Ok(found.into_iter().filter(|(_, client)| is_kept_waiting(client)).map(|(id, _)| id).collect())
    }
}
