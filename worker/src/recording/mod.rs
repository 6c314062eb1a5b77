//! A recording's life: leased, fetched, proved to be audio, kept and announced; or attempted again later; or given up.

pub mod address;
mod attempts;
pub mod failure;
pub mod fetch;
mod proof;
mod shares;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant};

use callvine_shared::call::CallId;
use callvine_shared::objects::{Objects, ObjectsError};
use callvine_shared::recording::{Cause, StoredRecording};
use callvine_shared::store::{Begun, PendingRecording, Postponed, Store, StoreError};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::attempts::{Attempts, Next, full_host_wait};
use self::failure::{Failure, Reason};
use self::fetch::{Fetched, Fetcher};
use self::shares::Shares;
use self::work::Work;
use crate::in_hand::InHand;
use crate::patience::while_unavailable;
use crate::settings::Settings;
use crate::{lease, metrics};

/// There is one spare permit for each so many that are for everybody. Spare permits go to clients that hold none.
const PERMITS_PER_SPARE: usize = 4;

/// Longest wait for a permit to fetch. Then the recording is postponed and its message settled, so that the queue moves on
/// however slow the others are, and no delivery is held for longer than the broker allows.
const PERMIT_WAIT_MAX: Duration = Duration::from_secs(30);

/// Everything that the life of a recording needs.
#[derive(Debug)]
pub struct Recordings {
    store: Store,
    objects: Objects,
    fetcher: Fetcher,
    in_hand: InHand,
    /// Permits to fetch, prove and keep: `CALLVINE_WORKER_CONCURRENCY`, and the spare ones.
    fetching: Arc<Shares>,
    /// Permits to prove: one for each processor, since more proofs at once would only take more memory; and the spare ones.
    proving: Arc<Shares>,
    attempts: Attempts,
}

impl Recordings {
    /// Fetches recordings, and attempts them again, as the settings say.
    #[must_use]
    pub(crate) fn new(
        store: Store,
        objects: Objects,
        fetcher: Fetcher,
        in_hand: InHand,
        settings: &Settings,
    ) -> Self {
        let shares = |permits: usize| Shares::new(permits, permits.div_ceil(PERMITS_PER_SPARE));
        Self {
            store,
            objects,
            fetcher,
            in_hand,
            fetching: shares(settings.worker_concurrency),
            proving: shares(std::thread::available_parallelism().map_or(1, usize::from)),
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
        if self.attempts.is_last(recording.attempts_counted) {
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
        match lease::hold(call_id, renew, self.fetch_and_keep(recording)).await {
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
    async fn fetch_and_keep(&self, recording: &PendingRecording) -> Option<Result<StoredRecording, Failure>> {
        let work = Work::new(&recording.client);
        // The host's permit comes first: a recording that waits for it keeps no other host's from being fetched.
        let permit = self.fetcher.permit(&recording.url, &work).await?;
        let fetching = timeout(PERMIT_WAIT_MAX, self.fetching.permit(&work)).await.ok()?;
        let started = Instant::now();
        let fetched = self.fetcher.fetch(permit, &work, &recording.url, self.objects.space()).await;
        let kept = match fetched {
            Ok(fetched) => {
                metrics::fetched(started.elapsed(), fetched.size_bytes);
                self.prove_and_keep(recording, fetched, &work).await
            }
            Err(failure) => Err(failure),
        };
        drop(fetching);
        Some(kept)
    }

    async fn prove_and_keep(
        &self,
        recording: &PendingRecording,
        fetched: Fetched,
        work: &Arc<Work>,
    ) -> Result<StoredRecording, Failure> {
        let proving = self.proving.permit(work).await;
        let (file, proof) = proof::prove(fetched).await?;
        drop(proving);
        let key = proof.object_key(recording);
        let location =
            self.objects.keep(&key, proof.media_type(), file).await.map_err(|error| not_kept(&error))?;
        Ok(proof.stored_at(location))
    }

    async fn stored(
        &self,
        recording: &PendingRecording,
        stored: &StoredRecording,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        let call_id = recording.call_id;
        while_unavailable(shutdown, || self.store.recording_stored(call_id, stored, Utc::now())).await?;
        metrics::settled("stored");
        let attempt = recording.attempts + 1;
        tracing::info!(call.id = call_id.0, attempt, "stored the recording of call {call_id}");
        Ok(())
    }

    async fn failed(
        &self,
        recording: &PendingRecording,
        failure: &Failure,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        let (call_id, attempt, cause) = (recording.call_id, recording.attempts + 1, failure.cause());
        let reason = cause.reason.name();
        match self.attempts.next(recording, failure.retry) {
            Next::Retry(wait) => {
                self.postpone(call_id, Postponed::Failed(cause), wait, shutdown).await?;
                metrics::settled("retried");
                tracing::info!(
                    call.id = call_id.0,
                    attempt,
                    reason,
                    "trying call {call_id} again in {wait:?}"
                );
            }
            Next::Postpone(wait) => {
                self.postpone(call_id, Postponed::HostRests, wait, shutdown).await?;
                metrics::settled("postponed");
                tracing::debug!(call.id = call_id.0, "the host of call {call_id} rests for {wait:?}");
            }
            Next::GiveUp => {
                while_unavailable(shutdown, || self.store.recording_failed(call_id, cause, Utc::now()))
                    .await?;
                metrics::settled("failed");
                tracing::warn!(
                    call.id = call_id.0,
                    attempt,
                    reason,
                    "gave up the recording of call {call_id}"
                );
            }
        }
        Ok(())
    }

    async fn postpone(
        &self,
        call_id: CallId,
        why: Postponed<'_>,
        wait: Duration,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        let now = Utc::now();
        let at = now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::zero());
        while_unavailable(shutdown, || self.store.postpone_recording(call_id, why, at, now)).await
    }
}

fn not_kept(error: &ObjectsError) -> Failure {
    if matches!(error, ObjectsError::Reserve) {
        return Failure::new(Reason::Storage, error.to_string());
    }
    tracing::error!(error = %callvine_shared::error_chain::Chain(error), "a recording can't be kept");
    Failure::new(Reason::Storage, "the recording can't be kept")
}
