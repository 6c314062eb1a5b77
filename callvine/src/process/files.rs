//! The limit on open files, connections included.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Enough for all connections of the public listener (10,000), and for the database, the broker and recordings beside
/// them.
const WANTED: u64 = 12_000;

/// Raises the limit as far as the system lets this process. With the usual 1024, a thousand idle clients would keep
/// everybody else out, and files from being opened.
pub(super) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` is no limit.
    if current.is_none_or(|current| current >= WANTED) {
        return;
    }
    let raised = maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        tracing::warn!(%error, "the limit of open files stays at {}", current.unwrap_or(0));
    } else if raised < WANTED {
        tracing::warn!("no more than {raised} files and connections can be open at once (see `ulimit -Hn`)");
    }
}
