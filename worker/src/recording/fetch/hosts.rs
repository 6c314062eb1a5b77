//! How many recordings are fetched at once from one host (`CALLVINE_FETCH_PER_HOST`).
//!
//! A host is a name, and each address that the name has: many names of one machine share its permits. A fetch takes a permit
//! of each. It waits for them with no permit of the worker in hand, and for a few seconds only. A host that let a recording
//! wait for longer is slow: for a while no more recordings of one client may wait for it than it has permits, and others are
//! refused at once. So a slow host leaves the others alone, however many of its recordings are due, and a burst for a fast
//! host is worked off in order. The permits are shared out among clients ([`Shares`]).

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::recording::shares::{self, Shares};
use crate::recording::work::Work;

/// Longest wait for a permit; a fast host has one sooner.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// How long a host counts as slow after a wait was too long.
const SLOW_FOR: Duration = Duration::from_secs(30);

/// Permits of a host beside the others, for clients of which nothing is being fetched there.
const SPARE: usize = 1;

/// A host, as it is counted. One with many addresses is many of them, and a fetch takes a permit of each: in this order, so
/// that two fetches never wait for each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum HostKey {
    /// A name, in lower case.
    Name(String),
    /// An address; of IPv6 the first 64 bits, since whoever has one such network has all its addresses.
    Address(IpAddr),
}

impl HostKey {
    /// The key of an address.
    pub(super) fn of(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// The permits of every host that has a fetch running or waiting; other hosts are forgotten.
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    permits_per_host: usize,
    hosts: Arc<Mutex<HashMap<HostKey, Host>>>,
}

#[derive(Debug)]
struct Host {
    permits: Arc<Shares>,
    /// Those of each client that run or wait.
    fetches: HashMap<String, usize>,
    slow_until: Option<Instant>,
}

/// A fetch's permits at its host, given back when dropped.
#[derive(Debug)]
#[must_use = "the permit is given back when this is dropped"]
pub struct Permit {
    _permits: Vec<(shares::Permit, Counted)>,
}

/// A fetch that runs or waits, among its host's `fetches`. The last one to end removes the host, also where its wait is
/// cancelled.
#[derive(Debug)]
struct Counted {
    hosts: Hosts,
    key: HostKey,
    client: String,
}

impl Hosts {
    pub(super) fn new(permits_per_host: usize) -> Self {
        Self { permits_per_host, hosts: Arc::default() }
    }

    /// Waits for a permit of each of these, in the clients' turns, for at most [`WAIT_MAX`] in all. `None` when there was
    /// none; at once where the host is slow and as many of the client's fetches wait as it has permits. Cancel-safe.
    pub(super) async fn permit(&self, keys: BTreeSet<HostKey>, work: &Arc<Work>) -> Option<Permit> {
        let deadline = Instant::now() + WAIT_MAX;
        let mut permits = Vec::with_capacity(keys.len());
        for key in keys {
            let (host, counted) = self.admit(key, work.client())?;
            match timeout_at(deadline, host.permit(work)).await {
                Ok(permit) => permits.push((permit, counted)),
                Err(_elapsed) => {
                    if let Some(host) = self.hosts.lock().get_mut(&counted.key) {
                        host.slow_until = Some(Instant::now() + SLOW_FOR);
                    }
                    return None;
                }
            }
        }
        Some(Permit { _permits: permits })
    }

    fn admit(&self, key: HostKey, client: &str) -> Option<(Arc<Shares>, Counted)> {
        let mut hosts = self.hosts.lock();
        let new = || Host {
            permits: Shares::new(self.permits_per_host, SPARE),
            fetches: HashMap::new(),
            slow_until: None,
        };
        let host = hosts.entry(key.clone()).or_insert_with(new);
        let is_slow = host.slow_until.is_some_and(|until| until > Instant::now());
        let fetches = host.fetches.entry(client.to_owned()).or_default();
        // The client has some there, or its entry would be new, and 0.
        if is_slow && *fetches >= self.permits_per_host * 2 {
            return None;
        }
        *fetches += 1;
        let permits = Arc::clone(&host.permits);
        Some((permits, Counted { hosts: self.clone(), key, client: client.to_owned() }))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut hosts = self.hosts.hosts.lock();
        let Some(host) = hosts.get_mut(&self.key) else { return };
        if let Some(fetches) = host.fetches.get_mut(&self.client) {
            *fetches -= 1;
            if *fetches == 0 {
                host.fetches.remove(&self.client);
            }
        }
        if host.fetches.is_empty() {
            hosts.remove(&self.key);
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

    fn name(name: &str) -> BTreeSet<HostKey> {
        BTreeSet::from([HostKey::Name(name.to_owned())])
    }

    fn at(name: &str, addresses: &[&str]) -> BTreeSet<HostKey> {
        let addresses = addresses.iter().map(|address| HostKey::of(address.parse().unwrap()));
        addresses.chain([HostKey::Name(name.to_owned())]).collect()
    }

    #[tokio::test]
    async fn a_full_host_leaves_the_others_alone() {
        let (hosts, work) = (Hosts::new(2), Work::new("acme"));
        let first = hosts.permit(name("a"), &work).await.unwrap();
        let second = hosts.permit(name("a"), &work).await.unwrap();
        assert!(hosts.permit(name("a"), &work).now_or_never().is_none());
        let other = hosts.permit(name("b"), &work).now_or_never().expect("another host has permits").unwrap();
        drop(first);
        let third = hosts.permit(name("a"), &work).now_or_never().expect("a permit was given back").unwrap();
        drop((second, third, other));
        assert_eq!(hosts_known(&hosts), 0);
    }

    #[tokio::test]
    async fn a_full_host_has_a_permit_for_another_client() {
        let (hosts, work) = (Hosts::new(1), Work::new("acme"));
        let held = hosts.permit(name("a"), &work).await.unwrap();
        let other = hosts.permit(name("a"), &Work::new("other")).now_or_never();
        drop(other.expect("the other client has none there").unwrap());
        drop(held);
    }

    #[tokio::test]
    async fn many_names_of_one_machine_share_its_permits() {
        for (held, wanted, is_shared) in [
            (at("a", &["192.0.2.1"]), at("b", &["192.0.2.1"]), true),
            (at("a", &["192.0.2.1", "192.0.2.2"]), at("b", &["192.0.2.3", "192.0.2.2"]), true),
            (at("a", &["192.0.2.1"]), at("b", &["::ffff:192.0.2.1"]), true),
            (at("a", &["2001:db8:0:1::1"]), at("b", &["2001:db8:0:1::2"]), true),
            (at("a", &["192.0.2.1"]), at("a", &["192.0.2.2"]), true),
            (at("a", &["192.0.2.1"]), at("b", &["192.0.2.2"]), false),
            (at("a", &["2001:db8:0:1::1"]), at("b", &["2001:db8:0:2::1"]), false),
        ] {
            let (hosts, work) = (Hosts::new(1), Work::new("acme"));
            let _held = hosts.permit(held.clone(), &work).await.unwrap();
            let waits = hosts.permit(wanted.clone(), &work).now_or_never().is_none();
            assert_eq!(waits, is_shared, "{held:?} and {wanted:?}");
        }
    }

    #[tokio::test]
    async fn a_cancelled_wait_leaves_nothing_behind() {
        let (hosts, work) = (Hosts::new(1), Work::new("acme"));
        let held = hosts.permit(name("a"), &work).await.unwrap();
        let mut waiting = Box::pin(hosts.permit(at("a", &["192.0.2.1"]), &work));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(held);
        drop(waiting);
        assert_eq!(hosts_known(&hosts), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_too_long_is_refused_and_then_those_of_a_full_slow_host_are_at_once() {
        let (hosts, work) = (Hosts::new(1), Work::new("acme"));
        let held = hosts.permit(name("a"), &work).await.unwrap();
        let begun = Instant::now();
        assert!(hosts.permit(name("a"), &work).await.is_none());
        assert_eq!(begun.elapsed(), WAIT_MAX);
        let mut waiting = Box::pin(hosts.permit(name("a"), &work));
        assert!(waiting.as_mut().now_or_never().is_none(), "as many wait as there are permits");
        assert!(hosts.permit(name("a"), &work).now_or_never().expect("it is refused at once").is_none());
        let other = hosts.permit(name("a"), &Work::new("other")).now_or_never();
        drop(other.expect("another client is not refused").unwrap());
        drop(held);
        drop(waiting.await.unwrap());
        assert!(hosts.permit(name("a"), &work).await.is_some());
    }
}
