//! Why an attempt brought no recording, and whether another can: this file alone decides it.
//!
//! Pure: `now` comes in as a parameter. No failure ever holds credentials, or the body or headers of an answer.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{HeaderMap, RETRY_AFTER};

use callvine_audio::Refusal;
use callvine_shared::recording::Cause;
pub use callvine_shared::recording::Reason;

/// Longest wait that a host's `Retry-After` is granted. An operator looks after a call whose recording comes hours later,
/// and a hostile host must not postpone recordings for a century.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// Whether and when another attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Never: no later attempt can end otherwise.
    Final,
    /// After the usual backoff.
    Later,
    /// After this time, which wins over the backoff. Above zero, at most [`RETRY_AFTER_MAX`].
    After(Duration),
    /// It may still be being written: not before the usual backoff, so that a writer has had time to go on.
    LookAgain {
        /// The SHA-256 of the bytes of this look.
        sha256: [u8; 32],
        /// Whether there was no look before. Then there is another one, even if this was the last attempt.
        is_first: bool,
    },
    /// After this time, and this was no attempt: the host was not asked, because it rests.
    Unattempted(Duration),
}

/// An attempt that brought no recording, or, with [`Retry::Unattempted`], one that was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", reason.name())]
pub struct Failure {
    /// The published reason.
    pub reason: Reason,
    /// The failure in words, for people. Never holds credentials, addresses, or the body or headers of an answer: it is
    /// shown to API clients, who must not learn from it what else listens inside this network.
    pub detail: String,
    /// Whether and when another attempt is made.
    pub retry: Retry,
}

impl Failure {
    /// The failure as the database keeps it.
    #[must_use]
    pub fn cause(&self) -> Cause<'_> {
        Cause { reason: self.reason, last_error: &self.detail }
    }

    /// A failure that is not an HTTP answer; its reason decides whether another attempt is made.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let retry = if passes(reason) { Retry::Later } else { Retry::Final };
        Self { reason, detail: detail.into(), retry }
    }

    /// The failure of a recording whose header leaves its size open, with the SHA-256 of its bytes: it may still be being
    /// written. `is_first`: nobody looked before.
    #[must_use]
    pub fn open(sha256: [u8; 32], is_first: bool) -> Self {
        Self {
            reason: Reason::Truncated,
            detail: "the recording's header leaves its size open, so it may still be being written"
                .to_owned(),
            retry: Retry::LookAgain { sha256, is_first },
        }
    }

    /// The failure of an answer that brings no recording, whatever its body says.
    #[must_use]
    pub fn of_answer(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Self {
        let (reason, passes) = match status.as_u16() {
            404 => (Reason::NotFound, true),
            410 => (Reason::NotFound, false),
            403 => (Reason::Forbidden, true),
            401 => (Reason::Forbidden, false),
            204 | 205 => (Reason::Empty, true),
            // Accepted but not ready; request timeout, conflict, locked while it is written, too early, too many requests;
            // any server's trouble. And no such part: the next attempt asks for all of it.
            202 | 408 | 409 | 416 | 423 | 425 | 429 | 500..=599 => (Reason::HttpStatus, true),
            _ => (Reason::HttpStatus, false),
        };
        let retry = match retry_after(headers, now) {
            _ if !passes => Retry::Final,
            Some(wait) => Retry::After(wait),
            None => Retry::Later,
        };
        Self { reason, detail: format!("the host answered {}", status.as_u16()), retry }
    }
}

impl From<Refusal> for Failure {
    /// The failure of a file that was fetched and is no recording.
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotAudio(detail) => Self::new(Reason::NotAudio, detail),
            // The next answer may be the recording: many hosts say with 200 that it is not ready.
            Refusal::Text(detail) => {
                Self { reason: Reason::NotAudio, detail: detail.into_owned(), retry: Retry::Later }
            }
            Refusal::Truncated => Self::new(Reason::Truncated, refusal.to_string()),
            Refusal::Empty => Self::new(Reason::Empty, refusal.to_string()),
            Refusal::Unreadable(error) => {
                Self::new(Reason::Storage, format!("cannot read the temporary file: {}", error.kind()))
            }
        }
    }
}

/// Whether a later attempt may end otherwise. Answers are judged by their status instead ([`Failure::of_answer`]).
const fn passes(reason: Reason) -> bool {
    match reason {
        Reason::Dns
        | Reason::Connect
        | Reason::Tls
        | Reason::Timeout
        | Reason::Truncated
        | Reason::Storage => true,
        // Telephone systems post the call before the recording is written.
        Reason::NotFound | Reason::Forbidden | Reason::Empty => true,
        Reason::HttpStatus | Reason::TooLarge | Reason::NotAudio | Reason::BlockedAddress => false,
    }
}

/// The wait that `Retry-After` asks for (RFC 9110, 10.2.3): seconds or an HTTP date. `None` where it is absent, not
/// understood, or asks for no wait at all, which would use up every attempt within a second.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than an u64 holds is just a long time.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        httpdate::parse_http_date(value).ok()?.duration_since(now).ok()?
    };
    (!wait.is_zero()).then(|| wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::HeaderValue;

    fn answer(status: u16, retry_after: Option<&str>) -> Failure {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
        }
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        Failure::of_answer(StatusCode::from_u16(status).unwrap(), &headers, now)
    }

    #[test]
    fn every_status_has_its_reason_and_class() {
        for (status, reason, retry) in [
            (404, Reason::NotFound, Retry::Later),
            (410, Reason::NotFound, Retry::Final),
            (403, Reason::Forbidden, Retry::Later),
            (401, Reason::Forbidden, Retry::Final),
            (204, Reason::Empty, Retry::Later),
            (202, Reason::HttpStatus, Retry::Later),
            (206, Reason::HttpStatus, Retry::Final),
            (304, Reason::HttpStatus, Retry::Final),
            (400, Reason::HttpStatus, Retry::Final),
            (402, Reason::HttpStatus, Retry::Final),
            (405, Reason::HttpStatus, Retry::Final),
            (408, Reason::HttpStatus, Retry::Later),
            (409, Reason::HttpStatus, Retry::Later),
            (416, Reason::HttpStatus, Retry::Later),
            (423, Reason::HttpStatus, Retry::Later),
            (425, Reason::HttpStatus, Retry::Later),
            (429, Reason::HttpStatus, Retry::Later),
            (500, Reason::HttpStatus, Retry::Later),
            (503, Reason::HttpStatus, Retry::Later),
            (599, Reason::HttpStatus, Retry::Later),
        ] {
            let failure = answer(status, None);
            assert_eq!((failure.reason, failure.retry), (reason, retry), "{status}");
        }
    }

    #[test]
    fn retry_after_is_obeyed_within_bounds() {
        let after = |seconds| Retry::After(Duration::from_secs(seconds));
        for (value, retry) in [
            ("7", after(7)),
            (" 7 ", after(7)),
            ("3600", after(3600)),
            ("86400", after(3600)),
            ("99999999999999999999999", after(3600)),
            ("0", Retry::Later),
            ("-1", Retry::Later),
            ("1.5", Retry::Later),
            ("", Retry::Later),
            ("soon", Retry::Later),
            ("Sun, 06 Nov 1994 08:50:37 GMT", after(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", after(60)),
            ("Sun Nov  6 08:50:37 1994", after(60)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Retry::Later),
            ("Sun, 06 Nov 1994 08:49:36 GMT", Retry::Later),
            ("Fri, 31 Dec 9999 23:59:59 GMT", after(3600)),
        ] {
            assert_eq!(answer(503, Some(value)).retry, retry, "{value:?}");
        }
        assert_eq!(answer(400, Some("7")).retry, Retry::Final);
    }

    #[test]
    fn reasons_decide_where_there_is_no_answer() {
        for reason in [Reason::BlockedAddress, Reason::NotAudio, Reason::TooLarge] {
            assert_eq!(Failure::new(reason, "").retry, Retry::Final, "{reason:?}");
        }
        for reason in [
            Reason::Dns,
            Reason::Connect,
            Reason::Tls,
            Reason::Timeout,
            Reason::Truncated,
            Reason::Storage,
            Reason::Empty,
        ] {
            assert_eq!(Failure::new(reason, "").retry, Retry::Later, "{reason:?}");
        }
    }

    #[test]
    fn a_refused_file_has_its_reason_and_class() {
        let not_audio = |detail: &str| Refusal::NotAudio(detail.to_owned().into());
        for (refusal, reason, retry) in [
            (not_audio("the recording is a PDF"), Reason::NotAudio, Retry::Final),
            (Refusal::Text("the recording is JSON".into()), Reason::NotAudio, Retry::Later),
            (Refusal::Truncated, Reason::Truncated, Retry::Later),
            (Refusal::Empty, Reason::Empty, Retry::Later),
            (Refusal::Unreadable(std::io::ErrorKind::Other.into()), Reason::Storage, Retry::Later),
        ] {
            let detail = refusal.to_string();
            let failure = Failure::from(refusal);
            assert_eq!((failure.reason, failure.retry), (reason, retry), "{detail}");
        }
    }

    #[test]
    fn names_are_the_published_ones_in_order() {
        let names = Reason::ALL.map(Reason::name).join(", ");
        assert_eq!(
            names,
            "not_found, forbidden, http_status, dns, connect, tls, timeout, truncated, too_large, empty, \
             not_audio, blocked_address, storage"
        );
    }
}
