//! Proves that a fetched file is audio, and draws up what is kept of it: its facts, its waveform, its object key.

use callvine_audio::{Ending, Refusal};
use callvine_shared::call::CallId;
use callvine_shared::cell::{CellError, Cells, Sound};
use callvine_shared::recording::StoredRecording;
use callvine_shared::store::PendingRecording;
use tempfile::NamedTempFile;

use super::failure::{Failure, Reason, Retry};
use super::fetch::Fetched;

/// Hexadecimal digits of the content's SHA-256 in an object's key: 128 bits, so that keys can't be guessed.
const KEY_DIGITS: usize = 32;

/// A file that is proved to be audio.
#[derive(Debug)]
pub(super) struct Proof {
    size_bytes: u64,
    /// Whether the host's answer told where it ends.
    is_end_told: bool,
    sha256: [u8; 32],
    sound: Sound,
}

/// Proves that a fetched file is audio, in a cell.
pub(super) async fn prove(
    cells: &Cells,
    call_id: CallId,
    fetched: Fetched,
) -> Result<(NamedTempFile, Proof), Failure> {
    let Fetched { file, size_bytes, is_end_told, sha256 } = fetched;
    // Opened again, since the cell may only read it.
    let opened = tokio::fs::File::open(file.path()).await.map_err(Refusal::Unreadable)?.into_std().await;
    let sound = cells.prove(&opened, size_bytes).await.map_err(|error| failure(call_id, error))?;
    Ok((file, Proof { size_bytes, is_end_told, sha256, sound }))
}

/// A file that kills its reader is fetched again, as one whose transfer was damaged may be.
fn failure(call_id: CallId, error: CellError) -> Failure {
    match error {
        CellError::Refused(refusal) => refusal.into(),
        CellError::Killed(death) => {
            let reason = if death.is_timeout() { Reason::Timeout } else { Reason::NotAudio };
            tracing::warn!(
                call.id = call_id.0,
                reason = death.name(),
                "the recording of call {call_id} was killed in its cell: {death}"
            );
            Failure { retry: Retry::Later, ..Failure::new(reason, death.to_string()) }
        }
        CellError::Unavailable(error) => {
            tracing::error!(%error, "no process that reads recordings can be started");
            Failure::new(Reason::Storage, "the recording can't be read at the moment")
        }
    }
}

impl Proof {
    pub(super) fn media_type(&self) -> &str {
        &self.sound.media_type
    }

    /// Refuses a recording of which more may come: its header leaves its size open, and the last look found other bytes or
    /// there was none; or its header promises a few bytes more, and nobody said how many would come.
    pub(super) fn check_ending(&self, recording: &PendingRecording) -> Result<(), Failure> {
        match self.sound.ending {
            Ending::Told => Ok(()),
            Ending::Short if self.is_end_told => Ok(()),
            Ending::Short => Err(Failure::from(Refusal::Truncated)),
            Ending::Open => match &recording.open_sha256 {
                Some(sha256) if *sha256 == hex::encode(self.sha256) => Ok(()),
                seen => Err(Failure::open(self.sha256, seen.is_none())),
            },
        }
    }

    /// A key that sorts by day, can't be guessed, and has nothing in it that a client sent. The same recording of the same
    /// call has the same key, so that a worker that died before it could commit leaves no second copy.
    pub(super) fn object_key(&self, recording: &PendingRecording) -> String {
        let day = recording.created_at.format("%Y/%m/%d");
        let sha256 = hex::encode(self.sha256);
        let digits = sha256.get(..KEY_DIGITS).unwrap_or(&sha256);
        format!("{day}/{}-{digits}.{}", recording.call_id, extension(self.media_type()))
    }

    /// The recording as the database keeps it.
    pub(super) fn stored_at(self, location: String) -> StoredRecording {
        let Self { size_bytes, sha256, sound, .. } = self;
        let waveform = sound.waveform().map(<[u8]>::to_vec);
        StoredRecording {
            location,
            size_bytes,
            sha256: hex::encode(sha256),
            media_type: sound.media_type,
            codec: sound.codec,
            duration_seconds: sound.duration_seconds,
            channels: sound.channels,
            sample_rate: sound.sample_rate,
            verification: sound.verification,
            waveform,
        }
    }
}

/// The usual ending of files of this media type, for people who look at the location.
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
        "audio/3gpp" => "3gp",
        "audio/3gpp2" => "3g2",
        "audio/basic" => "au",
        "audio/gsm" => "gsm",
        "audio/webm" => "webm",
        "audio/x-matroska" => "mka",
        "audio/quicktime" => "mov",
        _ => "audio",
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use callvine_audio::{Facts, Shape};
    use callvine_shared::recording::Verification;
    use chrono::Utc;

    use super::super::failure::Retry;
    use super::*;

    const SHA256: [u8; 32] = [7; 32];

    fn proof(ending: Ending, is_end_told: bool) -> Proof {
        let facts = Facts {
            media_type: "audio/wav",
            codec: Cow::Borrowed("pcm_s16le"),
            duration_seconds: 4.0,
            shape: Shape { channels: 1, sample_rate: 8_000 },
            verification: Verification::Decoded,
            ending,
        };
        Proof { size_bytes: 64_044, is_end_told, sha256: SHA256, sound: Sound::new(facts, Vec::new()) }
    }

    fn recording(open_sha256: Option<&str>) -> PendingRecording {
        PendingRecording {
            call_id: CallId(1),
            url: "https://example.com/call.wav".to_owned(),
            attempts: 0,
            attempts_counted: 0,
            refusals: 0,
            client: "test".to_owned(),
            open_sha256: open_sha256.map(str::to_owned),
            created_at: Utc::now(),
        }
    }

    #[test]
    fn a_file_is_whole_by_its_header_by_the_transfer_or_by_a_second_look() {
        let (same, other) = ("07".repeat(32), "08".repeat(32));
        for (ending, is_end_told, seen, retry) in [
            (Ending::Told, true, None, None),
            (Ending::Told, false, Some(other.as_str()), None),
            (Ending::Short, true, None, None),
            (Ending::Short, false, None, Some(Retry::Later)),
            (Ending::Open, true, None, Some(Retry::LookAgain { sha256: SHA256, is_first: true })),
            (Ending::Open, true, Some(&other), Some(Retry::LookAgain { sha256: SHA256, is_first: false })),
            (Ending::Open, false, Some(&same), None),
        ] {
            let outcome = proof(ending, is_end_told).check_ending(&recording(seen));
            assert_eq!(outcome.as_ref().err().map(|failure| failure.retry), retry, "{ending:?} {seen:?}");
            assert!(outcome.is_ok() || outcome.is_err_and(|failure| failure.reason == Reason::Truncated));
        }
    }
}
