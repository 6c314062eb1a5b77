//! What is limited by rate, how much of it is allowed, and the caller's answer when it was too much.
//!
//! By GCRA: a caller that keeps to its rate is never refused, one that saved up may send a burst at once, and a refused
//! request costs nothing. Each process counts for itself.

use std::num::NonZeroU32;
use std::time::Duration;

use callvine_shared::api_key::{RATE_MAX, RATE_MIN};
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

/// What is limited. Each has its default rate, its burst and its message here and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limited {
    /// Calls that are posted with one API key. Reading is not limited.
    Posts,
}

impl Limited {
    /// Times a second where nobody gave a rate; `None`: without limit.
    const fn default_per_second(self) -> Option<f64> {
        match self {
            Self::Posts => None,
        }
    }

    /// The most at once, after a pause: those of this long at the given rate, and at least one.
    const fn burst_period(self) -> Duration {
        match self {
            Self::Posts => Duration::from_secs(1),
        }
    }

    /// The caller's answer, beside the time to wait.
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::Posts => {
                "This API key has sent calls faster than its rate allows, please wait as Retry-After says"
            }
        }
    }
}

/// Lets a bounded number a second through. A check allocates nothing and waits for nothing.
#[derive(Debug)]
pub(crate) struct Limiter {
    what: Limited,
    per_second: f64,
    gcra: RateLimiter<NotKeyed, InMemoryState, SinceStart, NoOpMiddleware<Duration>>,
}

impl Limiter {
    /// A limiter for this rate, or else for the default one; `None`: there is no limit.
    pub(crate) fn new(what: Limited, per_second: Option<f64>) -> Option<Self> {
        let per_second = per_second.or(what.default_per_second())?;
        let quota = Quota::with_period(period(per_second))?.allow_burst(burst(what, per_second));
        Some(Self {
            what,
            per_second,
            gcra: RateLimiter::direct_with_clock(quota, SinceStart(Instant::now())),
        })
    }

    /// The rate that it was made for.
    pub(crate) fn per_second(&self) -> f64 {
        self.per_second
    }

    /// Lets one through, or says how long to wait.
    pub(crate) fn admit(&self) -> Result<(), TooMany> {
        self.gcra.check().map_err(|refused| {
            let wait = refused.wait_time_from(self.gcra.clock().now());
            // Rounded up: a caller that waits as long as it is told is let through.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            TooMany { what: self.what, retry_after_seconds: seconds.max(1) }
        })
    }
}

/// The time for which one more is allowed.
fn period(per_second: f64) -> Duration {
    // A rate that is no number becomes the lowest.
    let per_second = if per_second >= RATE_MIN { per_second.min(RATE_MAX) } else { RATE_MIN };
    Duration::from_secs_f64(per_second.recip())
}

fn burst(what: Limited, per_second: f64) -> NonZeroU32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from a float saturates, which is what is meant"
    )]
    let most = (per_second * what.burst_period().as_secs_f64()).ceil() as u32;
    NonZeroU32::new(most).unwrap_or(NonZeroU32::MIN)
}

/// It was too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany {
    pub(crate) what: Limited,
    /// Whole seconds after which one is let through, if no other comes first; at least 1.
    pub(crate) retry_after_seconds: u64,
}

/// The clock of a limiter. It is tokio's, which a test can set.
#[derive(Clone, Copy, Debug)]
struct SinceStart(Instant);

impl Clock for SinceStart {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn limiter(per_second: f64) -> Limiter {
        Limiter::new(Limited::Posts, Some(per_second)).unwrap()
    }

    fn admitted(limiter: &Limiter, attempts: u32) -> u32 {
        (0..attempts).map(|_| u32::from(limiter.admit().is_ok())).sum()
    }

    #[test]
    fn posts_have_no_limit_unless_one_is_given() {
        assert!(Limiter::new(Limited::Posts, None).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_what_a_second_allows_and_at_least_one() {
        for (per_second, burst) in
            [(0.001, 1), (0.5, 1), (1.0, 1), (1.5, 2), (50.0, 50), (1e6, 1_000_000), (1e9, 1_000_000)]
        {
            let limiter = limiter(per_second);
            let most = super::burst(Limited::Posts, per_second.min(RATE_MAX)).get();
            assert_eq!(most, burst, "{per_second}");
            if burst < 1000 {
                assert_eq!(admitted(&limiter, 200), burst, "{per_second}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_waits_as_told_is_let_through_and_one_that_waits_a_second_less_is_not() {
        for (per_second, told) in [(0.001, 1000), (0.3, 4), (0.5, 2), (0.7, 2), (1.0, 1), (3.0, 1)] {
            let limiter = limiter(per_second);
            admitted(&limiter, 200);
            let refused = limiter.admit().unwrap_err();
            assert_eq!(refused.retry_after_seconds, told, "{per_second}");
            advance(Duration::from_secs(told - 1)).await;
            assert!(limiter.admit().is_err(), "{per_second}");
            advance(Duration::from_secs(1)).await;
            assert_eq!(limiter.admit(), Ok(()), "{per_second}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refused_ones_do_not_postpone_the_next() {
        let limiter = limiter(0.5);
        assert_eq!(admitted(&limiter, 10_000), 1);
        advance(Duration::from_secs(2)).await;
        assert_eq!(admitted(&limiter, 10_000), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_keeps_to_its_rate_is_never_refused() {
        let limiter = limiter(4.0);
        for post in 0..400 {
            assert_eq!(limiter.admit(), Ok(()), "{post}");
            advance(Duration::from_millis(250)).await;
        }
    }

    #[test]
    fn a_rate_that_is_out_of_bounds_is_brought_into_them() {
        for (per_second, expected) in
            [(f64::NAN, 1000.0), (0.0, 1000.0), (-1.0, 1000.0), (1e-300, 1000.0), (f64::INFINITY, 0.000_001)]
        {
            assert_eq!(period(per_second), Duration::from_secs_f64(expected), "{per_second}");
            assert!(burst(Limited::Posts, per_second).get() >= 1);
        }
    }
}
