//! The end of an attempt: the recording is stored, postponed or given up, and the database knows it.

use std::time::Duration;

use callvine_shared::call::CallId;
use callvine_shared::recording::StoredRecording;
use callvine_shared::store::{PendingRecording, Postponed, StoreError};
use chrono::{TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::Recordings;
use super::attempts::Next;
use super::failure::{Failure, Retry};
use crate::metrics;
use crate::patience::while_unavailable;

impl Recordings {
    pub(super) async fn stored(
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

    pub(super) async fn failed(
        &self,
        recording: &PendingRecording,
        failure: &Failure,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        let (call_id, attempt, cause) = (recording.call_id, recording.attempts + 1, failure.cause());
        let reason = cause.reason.name();
        match self.attempts.next(recording, failure.retry) {
            Next::Retry(wait) => {
                let open_sha256 = match failure.retry {
                    Retry::LookAgain { sha256, .. } => Some(hex::encode(sha256)),
                    _ => None,
                };
                let why = match &open_sha256 {
                    Some(sha256) => Postponed::Open { cause, sha256 },
                    None => Postponed::Failed(cause),
                };
                self.postpone(call_id, why, wait, shutdown).await?;
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

    pub(super) async fn postpone(
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
