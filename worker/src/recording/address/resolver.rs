//! Resolves the names of hosts, and lets through only the answers that the guard permits.

use std::collections::BTreeSet;
#[cfg(test)]
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Guard, NO_WEB_PORT, NOT_PUBLIC, ports};
use crate::recording::failure::{Failure, Reason};

/// Longest resolution of one name. A recording that waits for it holds a permit of its host and one of the worker.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Most addresses of one name. A name with more is refused rather than judged in part.
const ADDRESSES_MAX: usize = 64;

/// A name without permitted addresses. The fetch finds it in the source chain of the client's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// At least one of its addresses may not be connected to. Then none is: only an attack mixes both kinds.
    #[error("{NOT_PUBLIC}")]
    Blocked,
    /// The port of the URL is fetched from in listed networks alone, and not all of its addresses are in one.
    #[error("{NO_WEB_PORT}")]
    Port,
    /// No address, or no answer.
    #[error("the host's name has no address")]
    Unknown,
    /// No answer within five seconds.
    #[error("the name server did not answer in time")]
    TimedOut,
}

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        let reason = match error {
            ResolveError::Blocked | ResolveError::Port => Reason::BlockedAddress,
            ResolveError::Unknown | ResolveError::TimedOut => Reason::Dns,
        };
        Self::new(reason, error.to_string())
    }
}

/// The kinds of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::recording) enum Port {
    /// Fetched from at every public address.
    OfWebServers,
    /// Fetched from only where `CALLVINE_FETCH_ALLOW` lists the address.
    OfListedNetworks,
}

impl Port {
    /// The kind of this one.
    pub(in crate::recording) fn of(port: u16) -> Self {
        if ports::serves_recordings(port) { Self::OfWebServers } else { Self::OfListedNetworks }
    }
}

/// Resolves names for the HTTP client, and judges every answer. Resolving and connecting use one answer, so a name
/// that changes its mind in between gains nothing. IP literals never come here: [`Guard::judge`] judges them.
#[derive(Clone, Debug)]
pub struct Resolver {
    guard: Guard,
    source: Source,
    /// Only addresses pass that `CALLVINE_FETCH_ALLOW` lists.
    listed_only: bool,
}

/// The source of answers.
#[derive(Clone, Debug)]
enum Source {
    System,
    #[cfg(test)]
    Table(fn(&str) -> Vec<IpAddr>),
}

impl Resolver {
    /// A resolver that asks the system.
    #[must_use]
    pub fn system(guard: Guard) -> Self {
        Self { guard, source: Source::System, listed_only: false }
    }

    /// A resolver that asks `table`, in tests.
    #[cfg(test)]
    pub(in crate::recording) fn table(guard: Guard, table: fn(&str) -> Vec<IpAddr>) -> Self {
        Self { guard, source: Source::Table(table), listed_only: false }
    }

    /// This resolver for a port of a URL, of which it is not told when it is asked.
    pub(in crate::recording) fn for_port(self, port: Port) -> Self {
        Self { listed_only: port == Port::OfListedNetworks, ..self }
    }

    /// The guard that judges the answers.
    pub(in crate::recording) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The addresses of a name, all permitted; never empty.
    pub(in crate::recording) async fn addresses(&self, name: &str) -> Result<Vec<SocketAddr>, ResolveError> {
        let answers = tokio::time::timeout(RESOLVE_TIMEOUT, self.ask(name));
        let answers =
            answers.await.map_err(|_| ResolveError::TimedOut)?.map_err(|_| ResolveError::Unknown)?;
        if answers.is_empty() {
            return Err(ResolveError::Unknown);
        }
        let permitted =
            answers.len() <= ADDRESSES_MAX && answers.iter().all(|address| self.guard.permits(address.ip()));
        if !permitted {
            return Err(ResolveError::Blocked);
        }
        let listed = !self.listed_only || answers.iter().all(|address| self.guard.lists(address.ip()));
        if listed { Ok(answers) } else { Err(ResolveError::Port) }
    }

    /// In the order of the answer, which is the system's preference, and each once.
    async fn ask(&self, name: &str) -> std::io::Result<Vec<SocketAddr>> {
        let answers: Vec<SocketAddr> = match self.source {
            // Port 0 stands for the port of the URL.
            Source::System => tokio::net::lookup_host((name, 0)).await?.collect(),
            #[cfg(test)]
            Source::Table(table) => table(name).into_iter().map(|ip| SocketAddr::new(ip, 0)).collect(),
        };
        let mut seen = BTreeSet::new();
        Ok(answers.into_iter().filter(|address| seen.insert(*address)).collect())
    }
}
