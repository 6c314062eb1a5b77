//! A recording's life: leased, fetched, proved to be audio, kept, and told of; or tried again later; or given up.

pub mod address;
pub mod failure;
pub mod fetch;

use std::time::{Duration, Instant};

use callvine_shared::call::CallId;
use callvine_shared::objects::Objects;
use callvine_shared::recording::{Cause, StoredRecording, Verification};
use callvine_shared::retry::backoff;
use callvine_shared::store::{Begun, PendingRecording, PutOff, Store, StoreError};
use callvine_shared::waveform;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::failure::{Failure, Reason, Retry};
use self::fetch::{Fetched, Fetcher};
use crate::consume::while_unavailable;
use crate::metrics;
use crate::settings::Settings;

/// How long a recording is a worker's own before the lease must be renewed. Short, because the recordings of a worker
/// that was killed wait for it to end.
const LEASE: TimeDelta = TimeDelta::seconds(15);

/// Renewed often enough to survive two failed renewals.
const RENEWAL: Duration = Duration::from_secs(5);

/// A recording that another worker has is looked at again this long after its lease ends.
const AFTER_LEASE: TimeDelta = TimeDelta::seconds(1);

/// A recording whose host has no place comes back after this, and up to [`TURNED_AWAY_STEPS`] times
/// [`TURNED_AWAY_SPREAD`] later: a minute in all, so that the thousands of a slow host don't come back at once.
const TURNED_AWAY_FIRST: Duration = Duration::from_secs(5);
/// See [`TURNED_AWAY_FIRST`].
const TURNED_AWAY_SPREAD: Duration = Duration::from_millis(500);
/// See [`TURNED_AWAY_FIRST`].
const TURNED_AWAY_STEPS: u32 = 110;

/// Most times that a recording is put off because its host rests. Rests soon reach five minutes, so a host that never
/// comes back is waited for for the better part of a day; without a bound, thousands of recordings, of which one a rest
/// is tried, would wait for weeks.
const REFUSALS_MAX: u32 = 200;

/// Hexadecimal digits of the content's SHA-256 in an object's key: 128 bits, so that keys can't be guessed.
const KEY_DIGITS: usize = 32;

/// Everything that the life of a recording needs.
#[derive(Debug)]
pub struct Recordings {
    store: Store,
    objects: Objects,
    fetcher: Fetcher,
    /// Recordings that are being fetched, proved and kept: `CALLVINE_WORKER_CONCURRENCY`.
    fetching: Semaphore,
    /// Recordings that are being proved: as many as there are processors, since more would only take more memory.
    proving: Semaphore,
    tries: Tries,
}

/// How often, and how fast, a recording is tried.
#[derive(Clone, Copy, Debug)]
struct Tries {
    most: u32,
    backoff: Duration,
}

impl Recordings {
    /// Recordings are fetched, and tried again, as the settings say.
    #[must_use]
    pub fn new(store: Store, objects: Objects, fetcher: Fetcher, settings: &Settings) -> Self {
        Self {
            store,
            objects,
            fetcher,
            fetching: Semaphore::new(settings.worker_concurrency),
            proving: Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)),
            tries: Tries { most: settings.fetch_attempts, backoff: settings.fetch_backoff },
        }
    }

    /// Takes one step with a call's recording, and commits it. May be called again for the same call at any time, at
    /// the same time too.
    ///
    /// # Errors
    /// [`StoreError`] when the step could not be committed. While the database is unavailable it waits, until the
    /// shutdown.
    pub(crate) async fn process(
        &self,
        call_id: CallId,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        let now = Utc::now();
        let begun = while_unavailable(shutdown, || {
            let now = Utc::now();
            self.store.begin_recording(call_id, now, now + LEASE)
        });
        match begun.await? {
            Begun::Leased(recording) => {
                match self.with_lease(call_id, self.fetch_and_keep(&recording)).await {
                    Some(outcome) => self.settle(&recording, outcome, shutdown).await,
                    None => self.postpone(call_id, shutdown).await,
                }
            }
            // Its worker may die, and this message may be the last one about it.
            Begun::Busy(until) => self.look_again(call_id, until + AFTER_LEASE, shutdown).await,
            // Early: this message was published twice, or the clocks of two machines differ.
            Begun::NotDue(at) => self.look_again(call_id, at.max(now), shutdown).await,
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

    /// No message about it is left: queues it again, as one more of its tries, so that a recording which kills its
    /// workers until its message is delivered too often is given up in the end. Does nothing when it turns out to be
    /// another worker's, or settled.
    ///
    /// # Errors
    /// [`StoreError`] when the step could not be committed.
    pub(crate) async fn queue_again(&self, call_id: CallId) -> Result<(), StoreError> {
        let now = Utc::now();
        let Begun::Leased(recording) = self.store.begin_recording(call_id, now, now + LEASE).await? else {
            return Ok(());
        };
        let cause = Cause {
            reason: Reason::Timeout,
            last_error: "no worker has settled it, and its message was lost",
        };
        if recording.attempts_counted >= self.tries.most {
            self.store.recording_failed(call_id, cause, now).await?;
            metrics::settled("failed");
            tracing::warn!(
                call.id = call_id.0,
                "gave up the recording of call {call_id}: it was lost too often"
            );
        } else {
            self.store.put_off_recording(call_id, PutOff::Failed(cause), now, now).await?;
            metrics::settled("lost");
            tracing::warn!(
                call.id = call_id.0,
                "the recording of call {call_id} was lost and is queued again"
            );
        }
        Ok(())
    }

    /// Its host is slow and has no place. Not a try; and those behind this one need not wait with it.
    async fn postpone(&self, call_id: CallId, shutdown: &CancellationToken) -> Result<(), StoreError> {
        let wait = TURNED_AWAY_FIRST + TURNED_AWAY_SPREAD * fastrand::u32(0..TURNED_AWAY_STEPS);
        metrics::settled("postponed");
        self.put_off(call_id, PutOff::HostIsFull, wait, shutdown).await
    }

    async fn look_again(
        &self,
        call_id: CallId,
        at: DateTime<Utc>,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        while_unavailable(shutdown, || self.store.defer_recording(call_id, at, Utc::now())).await
    }

    /// Renews the lease for as long as the work lasts.
    async fn with_lease<T>(&self, call_id: CallId, work: impl Future<Output = T>) -> T {
        let mut renewal = tokio::time::interval_at(tokio::time::Instant::now() + RENEWAL, RENEWAL);
        tokio::pin!(work);
        loop {
            tokio::select! {
                outcome = &mut work => return outcome,
                _ = renewal.tick() => {
                    if let Err(error) = self.store.renew_recording_lease(call_id, Utc::now() + LEASE).await {
                        tracing::warn!(call.id = call_id.0, %error, "cannot renew the lease on call {call_id}");
                    }
                }
            }
        }
    }

    /// `None` when the recording's host has no place for it for some time.
    async fn fetch_and_keep(&self, recording: &PendingRecording) -> Option<Result<StoredRecording, Failure>> {
        // The place at the host comes first: whoever waits for it keeps no other host's recordings from being fetched.
        let place = self.fetcher.enter(&recording.url).await?;
        let fetching = self.fetching.acquire().await.ok()?;
        let started = Instant::now();
        let fetched = self.fetcher.fetch_in(place, &recording.url, self.objects.staging()).await;
        let kept = match fetched {
            Ok(fetched) => {
                metrics::fetched(started.elapsed(), fetched.size_bytes);
                self.prove_and_keep(recording, fetched).await
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
    ) -> Result<StoredRecording, Failure> {
        let Fetched { file, size_bytes, sha256 } = fetched;
        let proving = self.proving.acquire().await;
        let (file, facts, peaks) = prove(file).await?;
        drop(proving);
        let sha256 = hex::encode(sha256);
        let key = object_key(recording, &sha256, extension(facts.media_type));
        let location =
            self.objects.keep(&key, facts.media_type, file).await.map_err(|error| storage(&error))?;
        Ok(StoredRecording {
            location,
            size_bytes,
            sha256,
            media_type: facts.media_type.to_owned(),
            codec: facts.codec.into_owned(),
            duration_seconds: facts.duration_seconds,
            channels: facts.shape.channels,
            sample_rate: facts.shape.sample_rate,
            verification: facts.verification,
            waveform: peaks.map(|peaks| waveform::encode(&peaks)),
        })
    }

    async fn settle(
        &self,
        recording: &PendingRecording,
        outcome: Result<StoredRecording, Failure>,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        let call_id = recording.call_id;
        let attempt = recording.attempts + 1;
        let failure = match outcome {
            Ok(stored) => {
                while_unavailable(shutdown, || self.store.recording_stored(call_id, &stored, Utc::now()))
                    .await?;
                metrics::settled("stored");
                tracing::info!(call.id = call_id.0, attempt, "stored the recording of call {call_id}");
                return Ok(());
            }
            Err(failure) => failure,
        };
        match self.tries.next(recording, failure.retry) {
            Next::TryAgain(wait) => {
                self.put_off(call_id, PutOff::Failed(failure.cause()), wait, shutdown).await?;
                metrics::settled("retried");
                tracing::info!(
                    call.id = call_id.0,
                    attempt,
                    reason = failure.reason.name(),
                    "trying call {call_id} again in {wait:?}"
                );
            }
            Next::Wait(wait) => {
                self.put_off(call_id, PutOff::HostRests, wait, shutdown).await?;
                metrics::settled("postponed");
                tracing::debug!(call.id = call_id.0, "the host of call {call_id} rests for {wait:?}");
            }
            Next::GiveUp => {
                let cause = failure.cause();
                while_unavailable(shutdown, || self.store.recording_failed(call_id, cause, Utc::now()))
                    .await?;
                metrics::settled("failed");
                tracing::warn!(
                    call.id = call_id.0,
                    attempt,
                    reason = cause.reason.name(),
                    "gave up the recording of call {call_id}"
                );
            }
        }
        Ok(())
    }

    async fn put_off(
        &self,
        call_id: CallId,
        why: PutOff<'_>,
        wait: Duration,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        let now = Utc::now();
        let at = now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::zero());
        while_unavailable(shutdown, || self.store.put_off_recording(call_id, why, at, now)).await
    }
}

impl Tries {
    /// What follows from a failure of this recording's present try.
    fn next(self, recording: &PendingRecording, retry: Retry) -> Next {
        let attempt = recording.attempts_counted + 1;
        match retry {
            Retry::Untried(wait) if recording.refusals < REFUSALS_MAX => Next::Wait(wait),
            Retry::Final | Retry::Untried(_) => Next::GiveUp,
            _ if attempt >= self.most => Next::GiveUp,
            Retry::Later => Next::TryAgain(backoff(self.backoff, attempt)),
            Retry::After(wait) => Next::TryAgain(wait),
        }
    }
}

/// What comes after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Another try, after this time.
    TryAgain(Duration),
    /// A try that was not made is made after this time.
    Wait(Duration),
    /// The dead letters.
    GiveUp,
}

/// Proves that the file is audio, on a thread that may block, and draws its waveform where every sample was decoded.
async fn prove(
    file: tempfile::NamedTempFile,
) -> Result<(tempfile::NamedTempFile, callvine_audio::Facts, Option<waveform::Peaks<i16>>), Failure> {
    let proof = tokio::task::spawn_blocking(move || {
        let mut waveform = callvine_audio::Waveform::default();
        let facts = callvine_audio::read(file.path(), &mut |shape, samples| waveform.hear(shape, samples))?;
        let peaks = waveform.finish().filter(|_| facts.verification == Verification::Decoded);
        Ok((file, facts, peaks))
    });
    match proof.await {
        Ok(proved) => proved,
        Err(_panicked) => Err(Failure::new(Reason::NotAudio, "the decoder gave up on the file")),
    }
}

/// Sorts by day, can't be guessed, and has nothing in it that a client sent. The same recording of the same call has
/// the same key, so that a worker that died between keeping it and saying so leaves no second copy.
fn object_key(recording: &PendingRecording, sha256: &str, extension: &str) -> String {
    let day = recording.created_at.format("%Y/%m/%d");
    let digits = sha256.get(..KEY_DIGITS).unwrap_or(sha256);
    format!("{day}/{}-{digits}.{extension}", recording.call_id)
}

/// The usual ending of files of this media type, for people who look into the place.
fn extension(media_type: &str) -> &'static str {
    match media_type {
        "audio/wav" => "wav",
        "audio/mpeg" => "mp3",
        "audio/ogg" => "ogg",
        "audio/flac" => "flac",
        "audio/aiff" => "aiff",
        "audio/mp4" => "m4a",
        "audio/aac" => "aac",
        "audio/amr" | "audio/amr-wb" => "amr",
        _ => "audio",
    }
}

fn storage(error: &(dyn std::error::Error + 'static)) -> Failure {
    tracing::error!(error = %callvine_shared::error_chain::Chain(error), "a recording can't be kept");
    Failure::new(Reason::Storage, "the recording can't be kept")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(attempts_counted: u32, refusals: u32) -> PendingRecording {
        let url = "https://example.com/call.wav".to_owned();
        let created_at = Utc::now();
        PendingRecording { call_id: CallId(1), url, attempts: 16, attempts_counted, refusals, created_at }
    }

    #[test]
    fn tries_are_limited_and_what_was_not_tried_is_none() {
        let tries = Tries { most: 8, backoff: Duration::from_secs(5) };
        let wait = Duration::from_secs(90);
        let next = |attempts, retry| tries.next(&recording(attempts, 0), retry);
        assert_eq!(next(0, Retry::Final), Next::GiveUp);
        assert!(matches!(next(0, Retry::Later), Next::TryAgain(wait) if wait <= Duration::from_secs(5)));
        assert_eq!(next(6, Retry::After(wait)), Next::TryAgain(wait));
        assert_eq!(next(7, Retry::After(wait)), Next::GiveUp, "the eighth try was the last");
        assert_eq!(next(7, Retry::Later), Next::GiveUp);
        assert_eq!(next(7, Retry::Untried(wait)), Next::Wait(wait), "the last try is still to be made");
    }

    #[test]
    fn a_host_that_rests_for_ever_is_not_waited_for_for_ever() {
        let tries = Tries { most: 8, backoff: Duration::from_secs(5) };
        let wait = Duration::from_secs(300);
        let next = |refusals| tries.next(&recording(0, refusals), Retry::Untried(wait));
        assert_eq!(next(REFUSALS_MAX - 1), Next::Wait(wait));
        assert_eq!(next(REFUSALS_MAX), Next::GiveUp);
    }
}
