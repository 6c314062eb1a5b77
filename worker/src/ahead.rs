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

/// Calls that one question covers: some ten milliseconds of the database's time.
const STEP: i64 = 10_000;

/// Questions of one look: the first is about the newest calls, and the others go back step by step, from where the look
/// before has ended. Another gateway's calls may have much lower ids than the newest.
const QUESTIONS: usize = 5;

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
        let mut steps = Steps::default();
        let mut wait = LOOK_EVERY;
        while pause(wait, &shutdown).await {
            wait = LOOK_EVERY;
            let free = slots.available_permits();
            if free == 0 || !self.in_hand.is_full() {
                continue;
            }
            let began = Instant::now();
            let found = match self.look(free, &mut steps).await {
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

    /// Recordings of clients that have less than their share in hand, for so many free slots.
    async fn look(&self, free: usize, steps: &mut Steps) -> Result<Vec<CallId>, StoreError> {
        let Some(CallId(newest)) = self.store.newest_call().await? else { return Ok(Vec::new()) };
        // One client never takes all slots at once: whether it has its share is seen only after that.
        let per_client = i64::try_from(free.div_ceil(2)).unwrap_or(1);
        let mut found = Vec::new();
        for last in steps.next(newest) {
            let (after, last) = (CallId(last - STEP), CallId(last));
            let span = WaitingSpan { after, last, per_client, limit: FOUND_MAX };
            found.extend(self.store.waiting_recordings(span, Utc::now()).await?);
        }
        let is_kept_waiting = |client: &str| !self.in_hand.has_its_share(client);
        Ok(found.into_iter().filter(|(_, client)| is_kept_waiting(client)).map(|(id, _)| id).collect())
    }
}

/// The way back from the newest calls.
#[derive(Debug, Default)]
struct Steps {
    /// The last call of the next step.
    next: i64,
}

impl Steps {
    /// The last call of each question of a look, the newest first.
    fn next(&mut self, newest: i64) -> Vec<i64> {
        let mut questions = vec![newest];
        let first_back = newest - STEP;
        if self.next > first_back {
            self.next = first_back;
        }
        while questions.len() < QUESTIONS && self.next > (newest - BACK_MAX).max(0) {
            questions.push(self.next);
            self.next -= STEP;
        }
        if self.next <= (newest - BACK_MAX).max(0) {
            self.next = first_back;
        }
        questions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_look_is_at_the_newest_calls_and_a_few_looks_at_all_others() {
        for (newest, looks) in [(1, 1), (STEP, 1), (5 * STEP, 1), (5 * STEP + 1, 2), (30 * STEP, 8)] {
            let (mut steps, mut seen) = (Steps::default(), Vec::new());
            steps.next(newest);
            for _ in 0..=looks {
                let questions = steps.next(newest);
                assert_eq!(questions[0], newest);
                assert!(questions.len() <= QUESTIONS);
                seen.extend(questions);
            }
            for call in (1..=newest).step_by(997) {
                assert!(
                    seen.iter().any(|last| (last - STEP + 1..=*last).contains(&call)),
                    "{call} of {newest}"
                );
            }
        }
    }

    #[test]
    fn the_way_back_ends_where_it_is_too_long() {
        let (mut steps, newest) = (Steps::default(), 10 * BACK_MAX);
        let oldest = (0..1000).flat_map(|_| steps.next(newest)).min();
        assert_eq!(oldest, Some(newest - BACK_MAX + STEP));
    }
}
