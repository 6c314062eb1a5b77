//! The addresses of this machine. Its public ones are refused like its private ones: a service that trusts its own machine
//! trusts a request from there.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a list is used before the system is asked again. An address that is added meanwhile is still refused, when
/// its connection turns out to have the same address at both ends.
const FRESH_FOR: Duration = Duration::from_secs(30);

/// The addresses of this machine's interfaces. Behind a translation of addresses the public one is not among them.
pub(super) struct OwnAddresses {
    list: fn() -> io::Result<Vec<IpAddr>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    addresses: Vec<IpAddr>,
    /// When the system was asked last, whether or not it answered.
    asked: Option<Instant>,
}

impl OwnAddresses {
    /// Those that the system lists.
    pub(super) fn system() -> Self {
        Self::listed_by(|| Ok(if_addrs::get_if_addrs()?.iter().map(if_addrs::Interface::ip).collect()))
    }

    pub(super) fn listed_by(list: fn() -> io::Result<Vec<IpAddr>>) -> Self {
        Self { list, known: Mutex::default() }
    }

    /// Whether this is one of them, by a list that is at most [`FRESH_FOR`] old. Asking the system takes microseconds, and
    /// no other machine.
    pub(super) fn contain(&self, address: IpAddr) -> bool {
        let mut known = self.known.lock();
        if known.asked.is_none_or(|asked| asked.elapsed() >= FRESH_FOR) {
            known.asked = Some(Instant::now());
            match (self.list)() {
                Ok(addresses) => {
                    known.addresses = addresses.into_iter().map(|address| address.to_canonical()).collect();
                }
                Err(error) => tracing::warn!(%error, "cannot list this machine's addresses"),
            }
        }
        known.addresses.contains(&address)
    }
}

impl std::fmt::Debug for OwnAddresses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnAddresses").finish_non_exhaustive()
    }
}
