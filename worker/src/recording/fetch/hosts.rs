//! How many recordings are fetched at once from one host (`CALLVINE_FETCH_PER_HOST`).
//!
//! Whoever waits for a place here holds no other place, so that one slow host leaves the others alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of every host that has a fetch running or waiting; those alone are kept.
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    places_per_host: usize,
    places: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
}

/// A fetch's place at its host, given back when dropped.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub struct Place {
    /// Dropped before the share, which looks whether anyone else is there.
    _permit: OwnedSemaphorePermit,
    _share: Share,
}

/// A share in a host's semaphore; the last one to go removes it, also when its wait is cancelled.
#[derive(Debug)]
struct Share {
    hosts: Hosts,
    host: String,
    semaphore: Option<Arc<Semaphore>>,
}

impl Hosts {
    pub(super) fn new(places_per_host: usize) -> Self {
        Self { places_per_host, places: Arc::default() }
    }

    /// Waits for a place at this host, first come first served. Cancel-safe.
    pub(super) async fn enter(&self, host: &str) -> Place {
        let (semaphore, share) = self.share(host);
        #[expect(clippy::expect_used, reason = "no code closes these semaphores")]
        let permit = semaphore.acquire_owned().await.expect("an open semaphore");
        Place { _permit: permit, _share: share }
    }

    fn share(&self, host: &str) -> (Arc<Semaphore>, Share) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Semaphore::new(self.places_per_host));
        let semaphore = Arc::clone(places.entry(host.to_owned()).or_insert_with(new));
        let share =
            Share { hosts: self.clone(), host: host.to_owned(), semaphore: Some(Arc::clone(&semaphore)) };
        (semaphore, share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut places = self.hosts.places.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.semaphore.take());
        // New shares are made under this lock, so a count of one is the map's own and stays so.
        if places.get(&self.host).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            places.remove(&self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn hosts_known(hosts: &Hosts) -> usize {
        hosts.places.lock().unwrap().len()
    }

    #[tokio::test]
    async fn a_full_host_leaves_the_others_alone() {
        let hosts = Hosts::new(2);
        let first = hosts.enter("a").await;
        let second = hosts.enter("a").await;
        assert!(hosts.enter("a").now_or_never().is_none());
        let other = hosts.enter("b").now_or_never().expect("another host has places");
        drop(first);
        let third = hosts.enter("a").now_or_never().expect("a place was given back");
        drop((second, third, other));
        assert_eq!(hosts_known(&hosts), 0);
    }

    #[tokio::test]
    async fn a_cancelled_wait_leaves_nothing_behind() {
        let hosts = Hosts::new(1);
        let held = hosts.enter("a").await;
        let mut waiting = Box::pin(hosts.enter("a"));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(held);
        assert_eq!(hosts_known(&hosts), 1);
        drop(waiting);
        assert_eq!(hosts_known(&hosts), 0);
    }
}
