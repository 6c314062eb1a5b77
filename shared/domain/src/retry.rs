//! How long to wait before the next attempt: exponential backoff with jitter. Pure.

use std::time::Duration;

/// The longest wait between two attempts, however many there were and whatever a server's `Retry-After` says.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Attempts at a recording unless configured otherwise (`CALLVINE_FETCH_ATTEMPTS`). With [`BACKOFF_DEFAULT`] the last one
/// comes two to four and a half hours after the first, for recordings that are written long after their call.
pub const ATTEMPTS_DEFAULT: u32 = 14;

/// The base of the waits between them unless configured otherwise (`CALLVINE_FETCH_BACKOFF`).
pub const BACKOFF_DEFAULT: Duration = Duration::from_secs(5);

/// Up to this limit a wait may be as short as zero. A wait with a higher limit is at least half of it: without that
/// floor, a run of short waits could use up all attempts within minutes.
const FULL_JITTER_MAX: Duration = Duration::from_secs(10 * 60);

/// Most doublings of the base; by then every base of a second or more has reached [`LONGEST_WAIT`].
const MOST_DOUBLINGS: u32 = 20;

/// The wait after failed attempt number `attempt`, counted from 1: uniformly random between [`floor`] and [`ceiling`].
///
/// Full jitter for short waits, because attempts that failed together would otherwise come back together (AWS
/// Architecture Blog, "Exponential Backoff And Jitter").
#[must_use]
pub fn backoff(base: Duration, attempt: u32) -> Duration {
    let (floor, ceiling) = (floor(base, attempt), ceiling(base, attempt));
    floor + (ceiling - floor).mul_f64(fastrand::f64())
}

/// The shortest that [`backoff`] may wait after this attempt: zero, or half of a ceiling above ten minutes.
#[must_use]
pub fn floor(base: Duration, attempt: u32) -> Duration {
    let ceiling = ceiling(base, attempt);
    if ceiling > FULL_JITTER_MAX { ceiling / 2 } else { Duration::ZERO }
}

/// The longest that [`backoff`] may wait after this attempt: `base * 2^(attempt - 1)`, at most [`LONGEST_WAIT`].
#[must_use]
pub fn ceiling(base: Duration, attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(MOST_DOUBLINGS);
    base.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// From the first attempt to the last, if each wait is as this says.
    fn reach(wait: fn(Duration, u32) -> Duration) -> Duration {
        (1..ATTEMPTS_DEFAULT).map(|attempt| wait(BACKOFF_DEFAULT, attempt)).sum()
    }

    #[test]
    fn the_ceiling_doubles_up_to_an_hour() {
        let base = Duration::from_secs(5);
        assert_eq!(ceiling(base, 1), base);
        assert_eq!(ceiling(base, 2), base * 2);
        assert_eq!(ceiling(base, 4), base * 8);
        assert_eq!(ceiling(base, 50), LONGEST_WAIT);
    }

    #[test]
    fn the_wait_stays_between_its_floor_and_its_ceiling() {
        for base in [Duration::from_millis(100), BACKOFF_DEFAULT, LONGEST_WAIT] {
            for attempt in 0..40 {
                let wait = backoff(base, attempt);
                assert!(wait >= floor(base, attempt) && wait <= ceiling(base, attempt));
            }
        }
    }

    #[test]
    fn the_defaults_reach_two_hours_at_the_least_and_four_and_a_half_at_the_most() {
        assert_eq!(reach(floor), 127 * MINUTE + Duration::from_secs(20));
        assert_eq!(reach(ceiling), 265 * MINUTE + Duration::from_secs(15));
        let mut reaches: Vec<Duration> = (0..2000)
            .map(|seed| {
                fastrand::seed(seed);
                reach(backoff)
            })
            .collect();
        reaches.sort();
        assert!(reaches[0] >= 120 * MINUTE, "{:?}", reaches[0]);
        assert!((190 * MINUTE..202 * MINUTE).contains(&reaches[1000]), "{:?}", reaches[1000]);
    }

    #[test]
    fn the_first_eight_attempts_by_default_have_full_jitter() {
        for attempt in 1..8 {
            assert_eq!(floor(BACKOFF_DEFAULT, attempt), Duration::ZERO);
        }
        assert_eq!(floor(BACKOFF_DEFAULT, 8), Duration::from_secs(320));
    }
}
