//! Bounds the connections of a listener, and those of one address. When all places are taken, the connection that has
//! been idle longest makes room.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use metrics::Gauge;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::client_address::TrustedProxies;
use crate::metrics::{self as names, Counted};
use crate::requests::{Listener, Requests};

/// Most HTTP/2 answers that wait for clients to make room for them, over all connections. Each holds about 5 KiB.
/// Honest clients make room before they ask, so theirs wait for microseconds.
const UNSENT_MAX: usize = 4_096;

/// Connections that one look through all of them finds for being closed: a flood of newcomers costs one look for so many.
const CANDIDATES_MAX: usize = 64;

/// Pause between two looks while every place is taken and nobody is idle.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Wait for the end of a connection that was told to end, before another is told. It ends within a millisecond unless a
/// request came at the same moment, which is answered first.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// How many connections a listener holds.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Most connections at once, at least 1.
    pub max: usize,
    /// Most of them from one address (of IPv6: from one network of 64 bits), at least 1. Loopback, where a reverse proxy
    /// may stand, and trusted proxies may have more, but give way to others when all places are taken.
    pub max_per_address: usize,
}

/// The connections of a listener.
#[derive(Debug)]
pub(crate) struct Admission {
    name: &'static str,
    limits: ConnectionLimits,
    /// Many clients stand behind each of these.
    proxies: TrustedProxies,
    permits: Arc<Semaphore>,
    listener: Arc<Listener>,
    open: Gauge,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// Every connection that has not been told to end, by its number. A higher number is younger.
    connections: HashMap<u64, Entry>,
    /// How many of them each address has.
    per_address: HashMap<IpAddr, usize>,
    last_number: u64,
    /// Those that the last look found, the longest idle one first, and the address to which it was confined.
    candidates: VecDeque<(u64, u64)>,
    candidates_of: Option<IpAddr>,
}

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    requests: Requests,
    end: CancellationToken,
}

/// A connection's place. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    /// The connection's requests.
    pub(crate) requests: Requests,
    /// Cancelled when the connection must end, or the listener ends.
    pub(crate) end: CancellationToken,
    number: u64,
    admission: Arc<Admission>,
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

impl Place {
    /// The admission that gave it.
    pub(crate) fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Whether the connection must be closed without more ado, once it was told to end: it was told so to make room, and
    /// no request has come at the same moment. A client that takes no answers could hold on to its place otherwise.
    pub(crate) fn must_be_left_at_once(&self) -> bool {
        let is_taken_away = !self.admission.table.lock().connections.contains_key(&self.number);
        is_taken_away && (self.requests.idle_since().is_some() || self.requests.are_written_off())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.table.lock().remove(self.number);
    }
}

impl Admission {
    /// The admission of the listener of this name.
    pub(crate) fn new(name: &'static str, limits: ConnectionLimits, proxies: TrustedProxies) -> Arc<Self> {
        Arc::new(Self {
            name,
            limits,
            proxies,
            permits: Arc::new(Semaphore::new(limits.max)),
            listener: Arc::default(),
            open: names::connections(name),
            table: Mutex::default(),
        })
    }

    /// A place for a client at this address; `None` where its address has its share and none of it is idle. Waits while
    /// every place is taken and no connection can make room.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        client: IpAddr,
        shutdown: &CancellationToken,
    ) -> Option<Place> {
        let address = counted_address(client);
        let is_proxy = address.is_loopback() || self.proxies.include(client);
        if !is_proxy && self.has_its_share(address) && !self.end_idle(Some(address)) {
            self.count("share");
            debug!(%client, "the {} listener turns a client away, whose address has its share", self.name);
            return None;
        }
        let permit = self.permit(address).await?;
        let requests = Requests::new(Arc::clone(&self.listener));
        let end = shutdown.child_token();
        let number = self.table.lock().add(address, requests.clone(), end.clone());
        Some(Place {
            requests,
            end,
            number,
            admission: Arc::clone(self),
            _permit: permit,
            _counted: Counted::new(&self.open),
        })
    }

    /// Ends the connection that has been idle longest, if any is.
    pub(crate) fn make_room(&self) -> bool {
        self.end_idle(None)
    }

    /// Ends the connection that has waited longest for its client, where too many HTTP/2 answers wait for theirs.
    pub(crate) fn bound_unsent(&self) {
        if self.listener.unsent() <= UNSENT_MAX {
            return;
        }
        let mut table = self.table.lock();
        let waiting = table.connections.iter();
        let waiting = waiting.filter_map(|(number, entry)| Some((entry.requests.unsent_since()?, *number)));
        if let Some((_since, number)) = waiting.min() {
            if let Some(entry) = table.remove(number) {
                entry.requests.write_off_unsent();
                entry.end.cancel();
            }
            drop(table);
            self.count("unsent");
        }
    }

    async fn permit(&self, address: IpAddr) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                return Some(permit);
            }
            let is_making_room = self.end_idle(None) || self.end_surplus(address);
            let wait = if is_making_room { END_PATIENCE } else { LOOK_INTERVAL };
            if let Ok(permit) = timeout(wait, Arc::clone(&self.permits).acquire_owned()).await {
                // The semaphore is never closed.
                return permit.ok();
            }
        }
    }

    fn has_its_share(&self, address: IpAddr) -> bool {
        self.table.lock().count(address) >= self.limits.max_per_address
    }

    /// Ends the connection that has been idle longest: of this address, or of all.
    fn end_idle(&self, address: Option<IpAddr>) -> bool {
        let ended = self.table.lock().end_idle(address);
        if ended {
            self.count("idle");
        }
        ended
    }

    /// Ends the oldest connection of an address that has more than its share, for a newcomer that has less.
    fn end_surplus(&self, newcomer: IpAddr) -> bool {
        let share = self.limits.max_per_address;
        let mut table = self.table.lock();
        if table.count(newcomer) >= share {
            return false;
        }
        let surplus = table.connections.iter();
        let surplus = surplus.filter(|(_, entry)| table.count(entry.address) > share);
        let Some(number) = surplus.map(|(number, _)| *number).min() else { return false };
        table.end(number);
        drop(table);
        self.count("share");
        true
    }

    fn count(&self, cause: &'static str) {
        names::connections_ended(self.name, cause).increment(1);
    }
}

impl Table {
    fn count(&self, address: IpAddr) -> usize {
        self.per_address.get(&address).copied().unwrap_or(0)
    }

    fn add(&mut self, address: IpAddr, requests: Requests, end: CancellationToken) -> u64 {
        self.last_number += 1;
        self.connections.insert(self.last_number, Entry { address, requests, end });
        *self.per_address.entry(address).or_default() += 1;
        self.last_number
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.connections.remove(&number)?;
        if let Some(count) = self.per_address.get_mut(&entry.address) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&entry.address);
            }
        }
        Some(entry)
    }

    fn end(&mut self, number: u64) {
        if let Some(entry) = self.remove(number) {
            entry.end.cancel();
        }
    }

    fn end_idle(&mut self, address: Option<IpAddr>) -> bool {
        if self.candidates_of != address {
            self.candidates.clear();
        }
        let number = self.next_candidate().or_else(|| {
            self.look(address);
            self.next_candidate()
        });
        if let Some(number) = number {
            self.end(number);
        }
        number.is_some()
    }

    /// The next that is still idle. Those that were not found became idle later.
    fn next_candidate(&mut self) -> Option<u64> {
        while let Some((since, number)) = self.candidates.pop_front() {
            let entry = self.connections.get(&number);
            if entry.is_some_and(|entry| entry.requests.idle_since() == Some(since)) {
                return Some(number);
            }
        }
        None
    }

    /// Finds the connections that have been idle longest.
    fn look(&mut self, address: Option<IpAddr>) {
        let of_address =
            self.connections.iter().filter(|(_, entry)| address.is_none_or(|of| entry.address == of));
        let mut idle: Vec<_> =
            of_address.filter_map(|(number, entry)| Some((entry.requests.idle_since()?, *number))).collect();
        if idle.len() > CANDIDATES_MAX {
            idle.select_nth_unstable(CANDIDATES_MAX);
            idle.truncate(CANDIDATES_MAX);
        }
        idle.sort_unstable();
        self.candidates = idle.into();
        self.candidates_of = address;
    }
}

/// The address by which a client is counted. One that has an IPv6 network has all of its addresses.
fn counted_address(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))
        }
        address => address,
    }
}
