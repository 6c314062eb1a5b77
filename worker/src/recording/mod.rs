//! A recording's life: leased, fetched, proved to be audio, kept and announced; or attempted again later; or given up.

pub mod address;
mod attempts;
pub mod failure;
pub mod fetch;
mod proof;
mod settle;
mod shares;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant};

use callvine_shared::call::CallId;
use callvine_shared::cell::Cells;
use callvine_shared::objects::{Objects, ObjectsError};
use callvine_shared::recording::{Cause, StoredRecording};
use callvine_shared::store::{Begun, PendingRecording, Postponed, Store, StoreError};
use chrono::{DateTime, Utc};
use tempfile::NamedTempFile;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::attempts::{Attempts, full_host_wait};
use self::failure::{Failure, Reason, Retry};
use self::fetch::{Fetched, Fetcher};
use self::proof::Proof;
use self::shares::Shares;
use self::work::Work;
use crate::in_hand::InHand;
use crate::patience::while_unavailable;
use crate::settings::Settings;
use crate::{IN_HAND_PER_FETCH, lease, metrics};

/// Spare permits to fetch for each that is for everybody: with these there is a permit for each recording that a worker can
/// have in hand. Spare permits go to clients that hold none, so no such client waits, however long the others fetch.
const SPARE_FETCHES_PER_PERMIT: usize = IN_HAND_PER_FETCH;

/// There is one spare permit to prove for each so many that are for everybody: there must be a cell for each.
const PROOFS_PER_SPARE: usize = 4;

/// Longest wait for a permit to fetch. Then the recording is postponed and its message settled, so that the queue moves on
/// however slow the others are, and no delivery is held for longer than the broker allows.
const PERMIT_WAIT_MAX: Duration = Duration::from_secs(30);

/// Everything that the life of a recording needs.
#[derive(Debug)]
pub struct Recordings {
    store: Store,
    objects: Objects,
    fetcher: Fetcher,
    /// The processes in which recordings are proved.
    cells: Cells,
    in_hand: InHand,
    /// Permits to fetch, prove and keep: `CALLVINE_WORKER_CONCURRENCY`, and the spare ones.
    fetching: Arc<Shares>,
    /// Permits to prove: one for each processor, since more proofs at once would only take more memory; and the spare ones.
    proving: Arc<Shares>,
    attempts: Attempts,
}

/// The means by which recordings are fetched and proved.
#[derive(Debug)]
pub(crate) struct Means {
    pub(crate) fetcher: Fetcher,
    /// The processes in which recordings are proved.
    pub(crate) cells: Cells,
    /// The recordings that this worker has in hand, by client.
    pub(crate) in_hand: InHand,
}

impl Recordings {
    /// Fetches recordings, and attempts them again, as the settings say.
    #[must_use]
    pub(crate) fn new(store: Store, objects: Objects, means: Means, settings: &Settings) -> Self {
        let Means { fetcher, cells, in_hand } = means;
        let fetches = settings.worker_concurrency;
        let proofs = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            store,
            objects,
            fetcher,
            cells,
            in_hand,
            fetching: Shares::new(fetches, fetches * SPARE_FETCHES_PER_PERMIT),
            proving: Shares::new(proofs, proofs.div_ceil(PROOFS_PER_SPARE)),
            attempts: Attempts { most: settings.fetch_attempts, backoff: settings.fetch_backoff },
        }
    }

    /// Takes one step with a call's recording, and commits it. May be called again for the same call at any time, also
    /// while it runs.
    ///
    /// # Errors
    /// [`StoreError`] when the step could not be committed. While the database is unavailable it waits, until the
    /// shutdown.
    pub(crate) async fn process(
        self: Arc<Self>,
        call_id: CallId,
        shutdown: CancellationToken,
    ) -> Result<(), StoreError> {
        let now = Utc::now();
        let begun = while_unavailable(&shutdown, || {
            let now = Utc::now();
            self.store.begin_recording(call_id, now, lease::end(now))
        });
        match begun.await? {
            Begun::Leased(recording) => self.attempt(&recording, &shutdown).await,
            // Its worker may die, and this message may be the last one about it.
            Begun::Busy(until) => self.look_again(call_id, lease::after(until), &shutdown).await,
            // Early: this message was published twice, or the clocks of two machines differ.
            Begun::NotDue(at) => self.look_again(call_id, at.max(now), &shutdown).await,
            Begun::Settled => Ok(()),
            Begun::Unknown => {
                tracing::warn!(
                    call.id = call_id.0,
                    "there is no call {call_id}; its recording is not fetched"
                );
                Ok(())
            }
        }
    }

    /// Takes a step as [`Recordings::process`] does, but only with a recording that can be leased now: its own message, which
    /// is still in the queue, stands for it otherwise.
    ///
    /// # Errors
    /// [`StoreError`] when the step could not be committed.
    pub(crate) async fn process_ahead(
        &self,
        call_id: CallId,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        let now = Utc::now();
        match self.store.begin_recording(call_id, now, lease::end(now)).await? {
            Begun::Leased(recording) => self.attempt(&recording, shutdown).await,
            Begun::Busy(_) | Begun::NotDue(_) | Begun::Settled | Begun::Unknown => Ok(()),
        }
    }

    /// Queues a recording again whose message was lost. This counts as an attempt, so that a recording which kills its
    /// workers until its message is dropped is given up in the end. Does nothing when another worker has leased it, or
    /// when it is settled.
    ///
    /// # Errors
    /// [`StoreError`] when the step could not be committed.
    pub(crate) async fn queue_again(&self, call_id: CallId) -> Result<(), StoreError> {
        let now = Utc::now();
        let begun = self.store.begin_recording(call_id, now, lease::end(now)).await?;
        let Begun::Leased(recording) = begun else { return Ok(()) };
        let cause = Cause {
            reason: Reason::Timeout,
            last_error: "no worker has settled it, and its message was lost",
        };
        if self.attempts.are_used_up(&recording) {
            self.store.waive_recording_attempt(call_id).await?;
            self.store.recording_failed(call_id, cause, now).await?;
            metrics::settled("failed");
            tracing::warn!(
                call.id = call_id.0,
                "gave up the recording of call {call_id}: it was lost too often"
            );
        } else {
            self.store.postpone_recording(call_id, Postponed::Failed(cause), now, now).await?;
            metrics::settled("lost");
            tracing::warn!(
                call.id = call_id.0,
                "the recording of call {call_id} was lost and is queued again"
            );
        }
        Ok(())
    }

    /// Fetches and keeps a leased recording, and commits the outcome.
    async fn attempt(
        &self,
        recording: &PendingRecording,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        let call_id = recording.call_id;
        let _counted = self.in_hand.count(&recording.client);
        let renew = |until| self.store.renew_recording_lease(call_id, until);
        if self.attempts.are_used_up(recording) {
            return self.used_up(recording, shutdown).await;
        }
        match lease::hold(call_id, renew, self.fetch_and_keep(recording, shutdown)).await? {
            Some(Ok(stored)) => self.stored(recording, &stored, shutdown).await,
            Some(Err(failure)) => self.failed(recording, &failure, shutdown).await,
            // Reschedules without counting an attempt, so that the messages behind this one need not wait for its host.
            None => {
                metrics::settled("postponed");
                self.postpone(call_id, Postponed::HostIsFull, full_host_wait(), shutdown).await
            }
        }
    }

    /// Queues another message for `at`, without counting an attempt.
    async fn look_again(
        &self,
        call_id: CallId,
        at: DateTime<Utc>,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        while_unavailable(shutdown, || self.store.defer_recording(call_id, at, Utc::now())).await
    }

    /// `None` when there is no permit for it in time: the recording's host is slow, or the others are.
    async fn fetch_and_keep(
        &self,
        recording: &PendingRecording,
        shutdown: &CancellationToken,
    ) -> Result<Option<Result<StoredRecording, Failure>>, StoreError> {
        let work = Work::new(&recording.client);
        // The host's permit comes first: a recording that waits for it keeps no other host's from being fetched.
        let Some(permit) = self.fetcher.permit(&recording.url, &work).await else { return Ok(None) };
        let Ok(fetching) = timeout(PERMIT_WAIT_MAX, self.fetching.permit(&work)).await else {
            return Ok(None);
        };
        let started = Instant::now();
        let fetched = self.fetcher.fetch(permit, &work, &recording.url, self.objects.space()).await;
        let kept = match fetched {
            Ok(fetched) => {
                metrics::fetched(started.elapsed(), fetched.size_bytes);
                self.prove_and_keep(recording, fetched, &work, shutdown).await?
            }
            Err(failure) => Err(failure),
        };
        drop(fetching);
        Ok(Some(kept))
    }

    async fn prove_and_keep(
        &self,
        recording: &PendingRecording,
        fetched: Fetched,
        work: &Arc<Work>,
        shutdown: &CancellationToken,
    ) -> Result<Result<StoredRecording, Failure>, StoreError> {
        let call_id = recording.call_id;
        let proving = self.proving.permit(work).await;
        while_unavailable(shutdown, || self.store.count_recording_attempt(call_id)).await?;
        let proved = proof::prove(&self.cells, call_id, fetched).await;
        drop(proving);
        Ok(match proved {
            Ok((file, proof)) => self.keep(recording, file, proof).await,
            Err(failure) => Err(failure),
        })
    }

    async fn keep(
        &self,
        recording: &PendingRecording,
        file: NamedTempFile,
        proof: Proof,
    ) -> Result<StoredRecording, Failure> {
        proof.check_ending(recording)?;
        let key = proof.object_key(recording);
        let kept = self.objects.keep(&key, proof.media_type(), file).await;
        kept.map(|location| proof.stored_at(location)).map_err(|error| not_kept(&error))
    }

    /// Gives up a recording whose attempts are all counted although it is pending: the last one has ended its worker.
    async fn used_up(
        &self,
        recording: &PendingRecording,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        while_unavailable(shutdown, || self.store.waive_recording_attempt(recording.call_id)).await?;
        let detail = "every attempt is used up, and none has brought the recording";
        let failure = Failure { retry: Retry::Final, ..Failure::new(Reason::Timeout, detail) };
        self.failed(recording, &failure, shutdown).await
    }
}

fn not_kept(error: &ObjectsError) -> Failure {
    if matches!(error, ObjectsError::Reserve) {
        return Failure::new(Reason::Storage, error.to_string());
    }
    tracing::error!(error = %callvine_shared::error_chain::Chain(error), "a recording can't be kept");
    Failure::new(Reason::Storage, "the recording can't be kept")
}
