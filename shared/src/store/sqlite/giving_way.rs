//! How SQLite's other writers give way to the calls that are being stored.

use std::time::{Duration, Instant};

use crate::throttle::{Batch, Throttle};

/// A transaction waits this long for a lull before it begins.
const GIVE_WAY: Duration = Duration::from_millis(20);

/// A transaction takes turns for this long while calls wait for the connection. With [`GIVE_WAY`], the others have about a
/// tenth of the time in a burst without end.
const SHARE: Duration = Duration::from_millis(1);

/// A transaction takes turns for at most this long: those that had their turn wait for the commit.
const LONGEST: Duration = Duration::from_millis(50);

/// Lets the calls go first at SQLite's one writing connection.
#[derive(Debug, Default)]
pub(super) struct GivingWay(Throttle);

impl GivingWay {
    /// Counts a batch of calls as waiting for the connection, or being stored, until the guard is dropped.
    pub(super) fn begin_batch(&self) -> Batch<'_> {
        self.0.begin()
    }

    /// Waits for a lull, [`GIVE_WAY`] at most.
    pub(super) async fn before_a_transaction(&self) {
        self.0.lull(GIVE_WAY).await;
    }

    /// Whether a transaction that began then may take one more turn.
    pub(super) fn allows_a_turn(&self, begun: Instant) -> bool {
        let longest = if self.0.is_storing() { SHARE } else { LONGEST };
        begun.elapsed() < longest
    }

    /// See [`SHARE`].
    #[cfg(test)]
    pub(super) const fn share() -> Duration {
        SHARE
    }
}
