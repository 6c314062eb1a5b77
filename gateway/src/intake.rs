//! Group commit: calls that arrive while a transaction runs are stored together by the next one.
//!
//! One task commits as fast as the database allows. Each transaction takes all calls that wait, and no timer delays
//! them, and settles which of them were posted before. A call is in flight from [`Intake::admit`], before its body is read,
//! to its answer, and the calls in flight are bounded.

use std::sync::Arc;

use callvine_shared::call::Call;
use callvine_shared::error_chain::Chain;
use callvine_shared::relay::Handoff;
use callvine_shared::store::{Outcome, ReceivedCall, Store, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::error;

use crate::answer;
use crate::metrics::{Counted, IntakeMetrics};
use crate::rejection::Rejection;

/// Most calls in one transaction. Larger ones store no more calls a second, and each caller waits longer.
const BATCH_MAX: usize = 512;

/// A handle for storing calls. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake {
    queue: mpsc::Sender<Waiting>,
    permits: Arc<Semaphore>,
    metrics: IntakeMetrics,
}

/// A call that is on disk.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) call: Call,
    /// Whether an earlier post has stored it: the answer is that post's.
    pub(crate) is_replay: bool,
}

/// A call on its way to the database.
struct Waiting {
    call: ReceivedCall,
    since: Instant,
    caller: Caller,
}

/// A call's place among those in flight. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

/// The request that waits for a call's answer.
struct Caller {
    answer: oneshot::Sender<Result<Stored, Rejection>>,
    _in_flight: InFlight,
}

impl Caller {
    fn answer(self, answer: Result<Stored, Rejection>) {
        // The caller may have left; its call is stored all the same.
        drop(self.answer.send(answer));
    }
}

impl Intake {
    /// Starts the committing task, for at most `max_in_flight` calls at a time. It ends when every handle is dropped and
    /// every call is answered; the caller must keep it running until then.
    #[must_use]
    pub fn start(store: Store, handoff: Arc<Handoff>, max_in_flight: usize) -> (Self, JoinHandle<()>) {
        let (sender, queue) = mpsc::channel(max_in_flight);
        let metrics = IntakeMetrics::new();
        let committer = Committer { store, handoff, metrics: metrics.clone() };
        let task = tokio::spawn(committer.run(queue));
        (Self { queue: sender, permits: Arc::new(Semaphore::new(max_in_flight)), metrics }, task)
    }

    /// A place for a call whose body is about to be read. It is refused rather than read where too many are in flight.
    pub(crate) fn admit(&self) -> Result<InFlight, Rejection> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_none_left| Rejection::Overloaded)?;
        Ok(InFlight { _permit: permit, _counted: Counted::new(&self.metrics.in_flight) })
    }

    /// Stores a call: `Ok` means that it is on disk. If the future is dropped, the call may be stored or not. Its place is
    /// free when the call is settled, even if the caller has left before.
    pub(crate) async fn store(&self, call: ReceivedCall, place: InFlight) -> Result<Stored, Rejection> {
        let (answer, answered) = oneshot::channel();
        let caller = Caller { answer, _in_flight: place };
        let waiting = Waiting { call, since: Instant::now(), caller };
        // The queue has room for every permit, so only a dead committer refuses.
        self.queue.try_send(waiting).map_err(|_dead| Rejection::Internal)?;
        match timeout(answer::DEADLINE, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(Rejection::NotStored),
        }
    }
}

/// The one task that stores calls.
struct Committer {
    store: Store,
    handoff: Arc<Handoff>,
    metrics: IntakeMetrics,
}

impl Committer {
    async fn run(self, mut queue: mpsc::Receiver<Waiting>) {
        let mut waiting = Vec::with_capacity(BATCH_MAX);
        while queue.recv_many(&mut waiting, BATCH_MAX).await > 0 {
            let mut calls = Vec::with_capacity(waiting.len());
            let mut callers = Vec::with_capacity(waiting.len());
            for Waiting { call, since, caller } in waiting.drain(..) {
                // The caller of an older one was told that it failed, and may have sent it again.
                if since.elapsed() < answer::DEADLINE {
                    calls.push(call);
                    callers.push(caller);
                }
            }
            if !calls.is_empty() {
                self.commit(calls, callers).await;
            }
        }
    }

    async fn commit(&self, calls: Vec<ReceivedCall>, callers: Vec<Caller>) {
        match self.insert(&calls).await {
            Ok(outcomes) => answer_all(outcomes, calls, callers),
            Err(StoreError::Rejected(_)) if calls.len() > 1 => self.commit_singly(calls, callers).await,
            Err(error) => {
                error!("{} calls can't be stored: {}", calls.len(), Chain(&error));
                refuse_all(callers);
            }
        }
    }

    /// One call that the database refuses must not fail its neighbours.
    async fn commit_singly(&self, calls: Vec<ReceivedCall>, callers: Vec<Caller>) {
        let mut rest = calls.into_iter().zip(callers);
        while let Some((call, caller)) = rest.next() {
            let single = vec![call];
            match self.insert(&single).await {
                Ok(outcomes) => answer_all(outcomes, single, vec![caller]),
                Err(error @ StoreError::Rejected(_)) => {
                    error!("a call can't be stored, validation should have refused it: {}", Chain(&error));
                    caller.answer(Err(Rejection::NotStored));
                }
                // The others would fail too, each after a wait of its own.
                Err(error) => {
                    error!("{} calls can't be stored: {}", rest.len() + 1, Chain(&error));
                    caller.answer(Err(Rejection::NotStored));
                    return refuse_all(rest.map(|(_call, caller)| caller));
                }
            }
        }
    }

    async fn insert(&self, calls: &[ReceivedCall]) -> Result<Vec<Outcome>, StoreError> {
        let begun = Instant::now();
        let inserted = self.handoff.insert_calls(&self.store, calls).await;
        self.metrics.commit_duration.record(begun.elapsed());
        if let Ok(outcomes) = &inserted {
            self.metrics.stored(outcomes);
        }
        inserted
    }
}

fn answer_all(outcomes: Vec<Outcome>, calls: Vec<ReceivedCall>, callers: Vec<Caller>) {
    for ((outcome, received), caller) in outcomes.into_iter().zip(calls).zip(callers) {
        caller.answer(stored(outcome, received));
    }
}

/// The answer's facts. Those of a replay are the first answer's: the fields of the two posts are the same, since their
/// bodies are, or the fields themselves were compared.
fn stored(outcome: Outcome, received: ReceivedCall) -> Result<Stored, Rejection> {
    let (id, created_at, is_replay) = match outcome {
        Outcome::New(id) => (id, received.created_at, false),
        Outcome::Same { id, created_at } => (id, created_at, true),
        Outcome::Conflict => return Err(Rejection::IdempotencyKeyReused),
    };
    Ok(Stored { call: Call { id, call: received.call, created_at, env: received.env }, is_replay })
}

fn refuse_all(callers: impl IntoIterator<Item = Caller>) {
    for caller in callers {
        caller.answer(Err(Rejection::NotStored));
    }
}
