//! How long to wait before the next attempt: exponential backoff with full jitter. Pure.

use std::time::Duration;

/// The longest wait between two attempts, however many there were and whatever a server's `Retry-After` says.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Most doublings of the base; by then every base of a second or more has reached [`LONGEST_WAIT`].
const MOST_DOUBLINGS: u32 = 20;

/// The wait after failed attempt number `attempt`, counted from 1: uniformly random between zero and
/// `base * 2^(attempt - 1)`, at most [`LONGEST_WAIT`].
///
/// Full jitter, because attempts that failed together would otherwise come back together (AWS Architecture Blog,
/// "Exponential Backoff And Jitter").
#[must_use]
pub fn backoff(base: Duration, attempt: u32) -> Duration {
    ceiling(base, attempt).mul_f64(fastrand::f64())
}

/// The longest that [`backoff`] may wait after this attempt.
#[must_use]
pub fn ceiling(base: Duration, attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(MOST_DOUBLINGS);
    base.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_an_hour() {
        let base = Duration::from_secs(5);
        assert_eq!(ceiling(base, 1), base);
        assert_eq!(ceiling(base, 2), base * 2);
        assert_eq!(ceiling(base, 4), base * 8);
        assert_eq!(ceiling(base, 50), LONGEST_WAIT);
    }

    #[test]
    fn the_wait_never_exceeds_its_ceiling() {
        let base = Duration::from_millis(100);
        for attempt in 0..40 {
            assert!(backoff(base, attempt) <= ceiling(base, attempt));
        }
    }
}
