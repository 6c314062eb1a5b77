//! How many recordings are fetched at once from one host (`CALLVINE_FETCH_PER_HOST`).
//!
//! A fetch waits for its host's permit with no other permit in hand, and for a few seconds only. A host that let one wait
//! for longer is slow: for a while no more fetches may wait for it than it has permits, and others are refused at once. So
//! a slow host leaves the others alone, however many of its recordings are due, and a burst for a fast host is worked off
//! in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// Longest wait for a permit; a fast host has one sooner.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// How long a host counts as slow after a wait was too long.
const SLOW_FOR: Duration = Duration::from_secs(30);

/// The permits of every host that has a fetch running or waiting; other hosts are forgotten.
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    permits_per_host: usize,
    hosts: Arc<Mutex<HashMap<String, Host>>>,
}

#[derive(Debug)]
struct Host {
    permits: Arc<Semaphore>,
    /// Those that run or wait.
    fetches: usize,
    slow_until: Option<Instant>,
}

/// A fetch's permit at its host, given back when dropped.
#[derive(Debug)]
#[must_use = "the permit is given back when this is dropped"]
pub struct Permit {
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

/// A fetch that runs or waits, among its host's `fetches`. The last one to end removes the host, also where its wait is
/// cancelled.
#[derive(Debug)]
struct Counted {
    hosts: Hosts,
    host: String,
}

impl Hosts {
    pub(super) fn new(permits_per_host: usize) -> Self {
        Self { permits_per_host, hosts: Arc::default() }
    }

    /// Waits for a permit of this host, first come first served, for at most [`WAIT_MAX`]. `None` when there was none; at
    /// once where the host is slow and as many fetches wait as it has permits. Cancel-safe.
    pub(super) async fn permit(&self, host: &str) -> Option<Permit> {
        let (permits, counted) = self.admit(host)?;
        match timeout(WAIT_MAX, permits.acquire_owned()).await {
            Ok(permit) => Some(Permit { _permit: permit.ok()?, _counted: counted }),
            Err(_elapsed) => {
                if let Some(host) = self.hosts.lock().get_mut(host) {
                    host.slow_until = Some(Instant::now() + SLOW_FOR);
                }
                None
            }
        }
    }

    fn admit(&self, host: &str) -> Option<(Arc<Semaphore>, Counted)> {
        let mut hosts = self.hosts.lock();
        let new = || Host {
            permits: Arc::new(Semaphore::new(self.permits_per_host)),
            fetches: 0,
            slow_until: None,
        };
        let entry = hosts.entry(host.to_owned()).or_insert_with(new);
        let is_slow = entry.slow_until.is_some_and(|until| until > Instant::now());
        if is_slow && entry.fetches >= self.permits_per_host * 2 {
            return None;
        }
        entry.fetches += 1;
        Some((Arc::clone(&entry.permits), Counted { hosts: self.clone(), host: host.to_owned() }))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut hosts = self.hosts.hosts.lock();
        if let Some(host) = hosts.get_mut(&self.host) {
            host.fetches -= 1;
            if host.fetches == 0 {
                hosts.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn hosts_known(hosts: &Hosts) -> usize {
        hosts.hosts.lock().len()
    }

    #[tokio::test]
    async fn a_full_host_leaves_the_others_alone() {
        let hosts = Hosts::new(2);
        let first = hosts.permit("a").await.unwrap();
        let second = hosts.permit("a").await.unwrap();
        assert!(hosts.permit("a").now_or_never().is_none());
        let other = hosts.permit("b").now_or_never().expect("another host has permits").unwrap();
        drop(first);
        let third = hosts.permit("a").now_or_never().expect("a permit was given back").unwrap();
        drop((second, third, other));
        assert_eq!(hosts_known(&hosts), 0);
    }

    #[tokio::test]
    async fn a_cancelled_wait_leaves_nothing_behind() {
        let hosts = Hosts::new(1);
        let held = hosts.permit("a").await.unwrap();
        let mut waiting = Box::pin(hosts.permit("a"));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(held);
        assert_eq!(hosts_known(&hosts), 1);
        drop(waiting);
        assert_eq!(hosts_known(&hosts), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_too_long_is_refused_and_then_those_of_a_full_slow_host_are_at_once() {
        let hosts = Hosts::new(1);
        let held = hosts.permit("a").await.unwrap();
        let begun = Instant::now();
        assert!(hosts.permit("a").await.is_none());
        assert_eq!(begun.elapsed(), WAIT_MAX);
        let mut waiting = Box::pin(hosts.permit("a"));
        assert!(waiting.as_mut().now_or_never().is_none(), "as many wait as there are permits");
        assert!(hosts.permit("a").now_or_never().expect("it is refused at once").is_none());
        drop(held);
        drop(waiting.await.unwrap());
        assert!(hosts.permit("a").await.is_some());
    }
}
