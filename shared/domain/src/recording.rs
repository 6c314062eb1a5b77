//! A recording: its states, the reasons for giving it up, and the facts that are kept of it.

use serde::Serialize;

use crate::names::named;

/// The state of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It waits to be fetched, or a worker is fetching it.
    Pending,
    /// It is in the object store.
    Stored,
    /// It was given up.
    Failed,
}

named!(Status, "state of a recording", { Pending => "pending", Stored => "stored", Failed => "failed" });

/// How a recording was proved to be audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verification {
    /// Every sample was decoded.
    Decoded,
    /// The structure was walked to its end; the samples are of a codec that is not decoded.
    HeaderOnly,
}

named!(Verification, "kind of proof", { Decoded => "decoded", HeaderOnly => "header_only" });

/// The published reasons of `recording.failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The host has no such recording (404, 410).
    NotFound,
    /// The host refuses the credentials, or their absence (401, 403).
    Forbidden,
    /// Any other answer without a recording.
    HttpStatus,
    /// The host's name has no address.
    Dns,
    /// No connection.
    Connect,
    /// The connection could not be secured, or is not trusted.
    Tls,
    /// Connecting, the answer, a pause within it, or the whole took too long.
    Timeout,
    /// Fewer bytes than promised, by the host or by the file's own header.
    Truncated,
    /// More bytes than `CALLVINE_MAX_RECORDING`.
    TooLarge,
    /// No bytes, or no sound.
    Empty,
    /// Bytes that are no audio.
    NotAudio,
    /// An address that may not be fetched from.
    BlockedAddress,
    /// Our own disk or object store failed.
    Storage,
}

named!(Reason, "reason of a failed recording", {
    NotFound => "not_found",
    Forbidden => "forbidden",
    HttpStatus => "http_status",
    Dns => "dns",
    Connect => "connect",
    Tls => "tls",
    Timeout => "timeout",
    Truncated => "truncated",
    TooLarge => "too_large",
    Empty => "empty",
    NotAudio => "not_audio",
    BlockedAddress => "blocked_address",
    Storage => "storage",
});

/// The facts of a recording that is kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StoredRecording {
    /// Where it is, as a URL.
    pub location: String,
    /// Bytes.
    #[serde(rename = "size")]
    pub size_bytes: u64,
    /// SHA-256 of the bytes: 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Such as `audio/wav`.
    pub media_type: String,
    /// Such as `pcm_alaw`; the names are those that ffprobe uses.
    pub codec: String,
    /// Seconds.
    pub duration_seconds: f64,
    /// Number of channels.
    pub channels: u16,
    /// Hertz.
    pub sample_rate: u32,
    /// How it was proved to be audio.
    #[serde(skip)]
    pub verification: Verification,
    /// Its peaks as [`crate::waveform`] writes them; `None` when it was not decoded.
    #[serde(skip)]
    pub waveform: Option<Vec<u8>>,
}

/// Why an attempt brought no recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause<'a> {
    /// The published reason.
    pub reason: Reason,
    /// The fault, for people.
    pub last_error: &'a str,
}

/// Why a recording was given up.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct FailedRecording<'a> {
    /// The published reason.
    pub reason: Reason,
    /// The number of attempts, those before an operator's retry included.
    pub attempts: u32,
    /// The fault of the last attempt, for people.
    pub last_error: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_what_has_them() {
        for status in Status::ALL {
            assert_eq!(status.name().parse(), Ok(status));
        }
        for verification in Verification::ALL {
            assert_eq!(verification.to_string().parse(), Ok(verification));
        }
        for reason in Reason::ALL {
            assert_eq!(reason.name().parse(), Ok(reason));
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{}\"", reason.name()));
        }
        assert_eq!(
            "Not_Found".parse::<Reason>().unwrap_err().to_string(),
            "no reason of a failed recording has this name"
        );
    }
}
