//! Polls a condition to a deadline: the only waiting in the tests.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// Longer than any single step takes on a busy machine; reached only by a failing test.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// First pause between two looks: most conditions hold within milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// Longest pause between two looks, so that a slow condition isn't asked thousands of times on a busy machine.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Returns as soon as `condition` is true; fails the test, naming `what`, when that takes longer than `deadline`.
///
/// A look that hangs (a connection that is never answered) is cut off at the deadline too.
///
/// # Panics
/// When the deadline passes.
#[track_caller]
pub fn eventually(
    deadline: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> bool,
) -> impl Future<Output = ()> {
    obtained(deadline, what, async move || condition().await.then_some(()))
}

/// As [`eventually`], for a condition that yields something: returns the first `Some`.
///
/// # Panics
/// When the deadline passes.
#[track_caller]
pub fn obtained<T>(
    deadline: Duration,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let ends_at = Instant::now() + deadline;
        let mut pause = FIRST_PAUSE;
        loop {
            match timeout_at(ends_at, attempt()).await {
                Ok(Some(value)) => return value,
                Ok(None) if Instant::now() < ends_at => {}
                Ok(None) => panic!("not within {deadline:?}: {what} (waited for at {caller})"),
                Err(_) => panic!("hung, and not within {deadline:?}: {what} (waited for at {caller})"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
