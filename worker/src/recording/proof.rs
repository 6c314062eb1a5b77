//! Proves that a fetched file is audio, and draws up what is kept of it: its facts, its waveform, its object key.

use callvine_audio::Refusal;
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
    sha256: String,
    sound: Sound,
}

/// Proves that a fetched file is audio, in a cell.
pub(super) async fn prove(
    cells: &Cells,
    call_id: CallId,
    fetched: Fetched,
) -> Result<(NamedTempFile, Proof), Failure> {
    let Fetched { file, size_bytes, sha256 } = fetched;
    // Opened again, since the cell may only read it.
    let opened = tokio::fs::File::open(file.path()).await.map_err(Refusal::Unreadable)?.into_std().await;
    let sound = cells.prove(&opened, size_bytes).await.map_err(|error| failure(call_id, error))?;
    Ok((file, Proof { size_bytes, sha256: hex::encode(sha256), sound }))
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

    /// A key that sorts by day, can't be guessed, and has nothing in it that a client sent. The same recording of the same
    /// call has the same key, so that a worker that died before it could commit leaves no second copy.
    pub(super) fn object_key(&self, recording: &PendingRecording) -> String {
        let day = recording.created_at.format("%Y/%m/%d");
        let digits = self.sha256.get(..KEY_DIGITS).unwrap_or(&self.sha256);
        format!("{day}/{}-{digits}.{}", recording.call_id, extension(self.media_type()))
    }

    /// The recording as the database keeps it.
    pub(super) fn stored_at(self, location: String) -> StoredRecording {
        let Self { size_bytes, sha256, sound } = self;
        let waveform = sound.waveform().map(<[u8]>::to_vec);
        StoredRecording {
            location,
            size_bytes,
            sha256,
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
        _ => "audio",
    }
}
