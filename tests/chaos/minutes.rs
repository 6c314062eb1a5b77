//! The long version: how many minutes it has, and who gets which of them.
//!
//! The tests of single faults take what they take, some minutes; the storms come last, run side by side, and have the
//! rest.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

/// When the first test began.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The storms' last reckonings, within the minutes.
const RESERVE: Duration = Duration::from_secs(60);

/// How often something is killed: enough to hit different moments, few enough for every run of the tests.
const KILLS: usize = 3;
/// How often in the long version.
const KILLS_LONG: usize = 50;

/// A test begins: so does the run, if it is the first.
pub(crate) fn count_from_now() {
    LazyLock::force(&BEGAN);
}

/// How often something is killed.
pub(crate) fn kills() -> usize {
    if minutes().is_some() { KILLS_LONG } else { KILLS }
}

/// Whether no further fault is to be struck; in the short version, none is beyond the first few.
pub(crate) fn are_over() -> bool {
    minutes().is_none_or(|minutes| BEGAN.elapsed() + RESERVE >= Duration::from_secs(60 * minutes))
}

/// Minutes of the long version; `None` in the short one.
fn minutes() -> Option<u64> {
    let minutes = std::env::var("CALLVINE_CHAOS_MINUTES").ok()?;
    Some(minutes.parse().expect("CALLVINE_CHAOS_MINUTES is a number"))
}
