//! When a recording is fetched again, if at all: the number of attempts, the waits between them, and what is postponed
//! without counting as an attempt.

use std::time::Duration;

use callvine_shared::retry::backoff;
use callvine_shared::store::PendingRecording;

use super::failure::Retry;

/// Most times that a recording is postponed because its host rests. A rest soon takes five minutes, so a host that never
/// comes back is waited for for the better part of a day. Without a bound thousands of recordings of one host, of which
/// each rest admits one, would wait for weeks.
const REFUSALS_MAX: u32 = 200;

/// A recording whose host has no permit comes back after this, and up to [`FULL_HOST_STEPS`] times [`FULL_HOST_STEP`]
/// later: within a minute, and spread so that the thousands of a slow host don't come back at once.
const FULL_HOST_WAIT: Duration = Duration::from_secs(5);
/// See [`FULL_HOST_WAIT`].
const FULL_HOST_STEP: Duration = Duration::from_millis(500);
/// See [`FULL_HOST_WAIT`].
const FULL_HOST_STEPS: u32 = 110;

/// How many attempts a recording gets, and how fast they follow one another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempts {
    /// `CALLVINE_FETCH_ATTEMPTS`.
    pub(super) most: u32,
    /// `CALLVINE_FETCH_BACKOFF`.
    pub(super) backoff: Duration,
}

/// The step after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another attempt after this time.
    Retry(Duration),
    /// The attempt was not made; it is made after this time.
    Postpone(Duration),
    /// The dead letters.
    GiveUp,
}

impl Attempts {
    /// The step after this recording's present attempt failed.
    pub(super) fn next(self, recording: &PendingRecording, retry: Retry) -> Next {
        let attempt = recording.attempts_counted + 1;
        match retry {
            Retry::Unattempted(wait) if recording.refusals < REFUSALS_MAX => Next::Postpone(wait),
            Retry::Final | Retry::Unattempted(_) => Next::GiveUp,
            Retry::LookAgain { is_first: true, .. } => Next::Retry(self.look_wait(attempt)),
            _ if self.is_last(attempt) => Next::GiveUp,
            Retry::Later => Next::Retry(backoff(self.backoff, attempt)),
            Retry::After(wait) => Next::Retry(wait),
            Retry::LookAgain { .. } => Next::Retry(self.look_wait(attempt)),
        }
    }

    /// The wait before a recording that may still be being written is looked at again. Recorders write what they have every
    /// few seconds, so that the same bytes a moment later would prove nothing.
    fn look_wait(self, attempt: u32) -> Duration {
        self.backoff.saturating_add(backoff(self.backoff, attempt))
    }

    /// Whether the attempts of a recording are all counted although it is pending: the last one has ended its worker. One
    /// that may still be being written has one more, for the second look.
    pub(super) const fn are_used_up(self, recording: &PendingRecording) -> bool {
        let looks = if recording.open_sha256.is_some() { 1 } else { 0 };
        recording.attempts_counted >= self.most.saturating_add(looks)
    }

    /// Whether no attempt follows this one, counted from 1.
    pub(super) const fn is_last(self, attempt: u32) -> bool {
        attempt >= self.most
    }
}

/// How long a recording is postponed whose host has no permit for it.
pub(super) fn full_host_wait() -> Duration {
    FULL_HOST_WAIT + FULL_HOST_STEP * fastrand::u32(0..FULL_HOST_STEPS)
}

#[cfg(test)]
mod tests {
    use callvine_shared::call::CallId;
    use chrono::Utc;

    use super::*;

    fn recording(attempts_counted: u32, refusals: u32) -> PendingRecording {
        let url = "https://example.com/call.wav".to_owned();
        let (client, created_at) = ("test".to_owned(), Utc::now());
        PendingRecording {
            call_id: CallId(1),
            url,
            attempts: 16,
            attempts_counted,
            refusals,
            client,
            open_sha256: None,
            created_at,
        }
    }

    #[test]
    fn attempts_are_limited_and_one_that_was_not_made_does_not_count() {
        let attempts = Attempts { most: 8, backoff: Duration::from_secs(5) };
        let wait = Duration::from_secs(90);
        let next = |counted, retry| attempts.next(&recording(counted, 0), retry);
        assert_eq!(next(0, Retry::Final), Next::GiveUp);
        assert!(matches!(next(0, Retry::Later), Next::Retry(wait) if wait <= Duration::from_secs(5)));
        assert_eq!(next(6, Retry::After(wait)), Next::Retry(wait));
        assert_eq!(next(7, Retry::After(wait)), Next::GiveUp, "the eighth attempt was the last");
        assert_eq!(next(7, Retry::Later), Next::GiveUp);
        assert_eq!(
            next(7, Retry::Unattempted(wait)),
            Next::Postpone(wait),
            "the last attempt is still to be made"
        );
    }

    #[test]
    fn a_first_look_is_followed_by_another_and_neither_comes_at_once() {
        let attempts = Attempts { most: 8, backoff: Duration::from_secs(5) };
        let next = |counted, is_first| {
            attempts.next(&recording(counted, 0), Retry::LookAgain { sha256: [7; 32], is_first })
        };
        for (counted, is_first) in [(0, true), (0, false), (6, false), (7, true), (100, true)] {
            match next(counted, is_first) {
                Next::Retry(wait) => assert!(wait >= Duration::from_secs(5), "{wait:?}"),
                next => panic!("{counted} {is_first}: {next:?}"),
            }
        }
        assert_eq!(next(7, false), Next::GiveUp, "a recording that grows for ever is given up");
        let open = |counted| PendingRecording { open_sha256: Some("07".repeat(32)), ..recording(counted, 0) };
        for (recording, are_used_up) in
            [(recording(7, 0), false), (recording(8, 0), true), (open(8), false), (open(9), true)]
        {
            assert_eq!(attempts.are_used_up(&recording), are_used_up, "{recording:?}");
        }
    }

    #[test]
    fn a_host_that_rests_for_ever_is_not_waited_for_for_ever() {
        let attempts = Attempts { most: 8, backoff: Duration::from_secs(5) };
        let wait = Duration::from_secs(300);
        let next = |refusals| attempts.next(&recording(0, refusals), Retry::Unattempted(wait));
        assert_eq!(next(REFUSALS_MAX - 1), Next::Postpone(wait));
        assert_eq!(next(REFUSALS_MAX), Next::GiveUp);
    }

    #[test]
    fn recordings_of_a_full_host_come_back_within_a_minute() {
        for _ in 0..1000 {
            assert!((FULL_HOST_WAIT..Duration::from_secs(60)).contains(&full_host_wait()));
        }
    }
}
