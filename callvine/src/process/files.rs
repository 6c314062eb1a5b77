//! The limit on open files, connections included.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Enough for the database, the broker, recordings and the admin listener.
const BESIDE_CONNECTIONS: usize = 2_000;

/// Raises the limit as far as the system lets this process, at best to what so many connections of the public listener
/// need. With the usual 1024, idle clients would keep files from being opened.
pub(super) fn raise_limit(connections: usize) {
    let wanted = u64::try_from(connections.saturating_add(BESIDE_CONNECTIONS)).unwrap_or(u64::MAX);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` is no limit.
    if current.is_none_or(|current| current >= wanted) {
        return;
    }
    let raised = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        tracing::warn!(%error, "the limit of open files stays at {}", current.unwrap_or(0));
    } else if raised < wanted {
        tracing::warn!("no more than {raised} files and connections can be open at once (see `ulimit -Hn`)");
    }
}
