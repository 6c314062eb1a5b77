//! How many recordings are fetched at once from one host (`CALLVINE_FETCH_PER_HOST`).
//!
//! Whoever waits for a place here holds no other place, and waits for a few seconds only; then the host is slow, and for
//! a while no more may wait for it than it has places: the others are turned away at once. So one slow host leaves the
//! others alone, however many of its recordings are due, and a burst for a fast one is worked off in order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// A fast host gives a place in less; whoever has waited for longer is turned away.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// A host that made somebody wait for too long counts as slow for this long.
const SLOW_FOR: Duration = Duration::from_secs(30);

/// The places of every host that has a fetch running or waiting; those alone are kept.
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    places_per_host: usize,
    hosts: Arc<Mutex<HashMap<String, Host>>>,
}

#[derive(Debug)]
struct Host {
    places: Arc<Semaphore>,
    /// Fetches that run or wait.
    guests: usize,
    slow_until: Option<Instant>,
}

/// A fetch's place at its host, given back when dropped.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub struct Place {
    _permit: OwnedSemaphorePermit,
    _guest: Guest,
}

/// One that runs or waits; the last one to go removes the host, also when its wait is cancelled.
#[derive(Debug)]
struct Guest {
    hosts: Hosts,
    host: String,
}

impl Hosts {
    pub(super) fn new(places_per_host: usize) -> Self {
        Self { places_per_host, hosts: Arc::default() }
    }

    /// Waits for a place at this host, first come first served, for [`WAIT_MAX`]; at a slow host, where as many wait as
    /// there are places, not at all. `None` when there was none. Cancel-safe.
    pub(super) async fn enter(&self, host: &str) -> Option<Place> {
        let (places, guest) = self.admit(host)?;
        match timeout(WAIT_MAX, places.acquire_owned()).await {
            Ok(permit) => Some(Place { _permit: permit.ok()?, _guest: guest }),
            Err(_elapsed) => {
                if let Some(host) = self.lock().get_mut(host) {
                    host.slow_until = Some(Instant::now() + SLOW_FOR);
                }
                None
            }
        }
    }

    fn admit(&self, host: &str) -> Option<(Arc<Semaphore>, Guest)> {
        let mut hosts = self.lock();
        let new =
            || Host { places: Arc::new(Semaphore::new(self.places_per_host)), guests: 0, slow_until: None };
        let entry = hosts.entry(host.to_owned()).or_insert_with(new);
        let is_slow = entry.slow_until.is_some_and(|until| until > Instant::now());
        if is_slow && entry.guests >= self.places_per_host * 2 {
            return None;
        }
        entry.guests += 1;
        Some((Arc::clone(&entry.places), Guest { hosts: self.clone(), host: host.to_owned() }))
    }

    /// A map of counts is whole whatever panicked while it was locked.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut hosts = self.hosts.lock();
        if let Some(host) = hosts.get_mut(&self.host) {
            host.guests -= 1;
            if host.guests == 0 {
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
        hosts.hosts.lock().unwrap().len()
    }

    #[tokio::test]
    async fn a_full_host_leaves_the_others_alone() {
        let hosts = Hosts::new(2);
        let first = hosts.enter("a").await.unwrap();
        let second = hosts.enter("a").await.unwrap();
        assert!(hosts.enter("a").now_or_never().is_none());
        let other = hosts.enter("b").now_or_never().expect("another host has places").unwrap();
        drop(first);
        let third = hosts.enter("a").now_or_never().expect("a place was given back").unwrap();
        drop((second, third, other));
        assert_eq!(hosts_known(&hosts), 0);
    }

    #[tokio::test]
    async fn a_cancelled_wait_leaves_nothing_behind() {
        let hosts = Hosts::new(1);
        let held = hosts.enter("a").await.unwrap();
        let mut waiting = Box::pin(hosts.enter("a"));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(held);
        assert_eq!(hosts_known(&hosts), 1);
        drop(waiting);
        assert_eq!(hosts_known(&hosts), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_too_long_is_turned_away_and_then_those_who_come_to_a_full_house_are_at_once() {
        let hosts = Hosts::new(1);
        let held = hosts.enter("a").await.unwrap();
        let begun = Instant::now();
        assert!(hosts.enter("a").await.is_none());
        assert_eq!(begun.elapsed(), WAIT_MAX);
        let mut waiting = Box::pin(hosts.enter("a"));
        assert!(waiting.as_mut().now_or_never().is_none(), "as many wait as there are places");
        assert!(hosts.enter("a").now_or_never().expect("it is said at once").is_none());
        drop(held);
        drop(waiting.await.unwrap());
        assert!(hosts.enter("a").await.is_some());
    }
}
