//! Fetches a recording over HTTP into a temporary file, within bounds of size, time and trust.
//!
//! [`super::address`] alone decides which addresses may be connected to, at every redirect. The bytes are not looked at
//! here: the proof that they are audio comes after.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callvine_shared::objects::Space;
use ipnet::IpNet;
use tempfile::NamedTempFile;
use url::{Host, Position, Url};

use super::address::{Guard, Resolver};
use super::failure::{Failure, Reason};
use super::work::Work;
use crate::settings::Settings;

mod breaker;
mod client;
mod connect;
mod credentials;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hosts;
mod kept;
mod parts;
mod signer;
mod sink;
mod threads;
mod transfer;
mod unanswered;
mod unpack;

use breaker::Breakers;
use client::Client;
pub use credentials::{Credentials, CredentialsError};
pub use hosts::Permit;
use hosts::{HostKey, Hosts};
pub use sink::TEMPORARY_PREFIX;
use threads::Threads;
use transfer::Transfers;

/// The bounds of a fetch.
#[derive(Clone, Debug)]
pub struct FetchSettings {
    /// Largest recording, in bytes.
    pub bytes_max: u64,
    /// Longest fetch, redirects and resumed transfers included.
    pub timeout: Duration,
    /// Longest wait for a connection, with name and TLS.
    pub connect_timeout: Duration,
    /// Longest wait for the next byte.
    pub idle_timeout: Duration,
    /// First rest of a host that fails again and again.
    pub backoff: Duration,
    /// Fetches at once from one host, at least 1.
    pub per_host: usize,
    /// Networks that are fetched from although they are not public.
    pub allowed: Vec<IpNet>,
    /// Credentials by host.
    pub credentials: Credentials,
}

impl FetchSettings {
    /// The settings of the command line. Reads the credentials file, so it blocks for a moment.
    ///
    /// # Errors
    /// [`CredentialsError`] where that file can't be used.
    pub fn load(settings: &Settings) -> Result<Self, CredentialsError> {
        let credentials = match &settings.fetch_credentials {
            Some(path) => Credentials::load(path)?,
            None => Credentials::default(),
        };
        Ok(Self {
            bytes_max: settings.max_recording,
            timeout: settings.fetch_timeout,
            connect_timeout: settings.fetch_connect_timeout,
            idle_timeout: settings.fetch_idle_timeout,
            backoff: settings.fetch_backoff,
            per_host: settings.fetch_per_host,
            allowed: settings.fetch_allow.0.clone(),
            credentials,
        })
    }
}

/// A fetcher that can't be made.
#[derive(Debug, thiserror::Error)]
pub enum FetcherError {
    /// There are no certificates to trust.
    #[error(
        "no certificate authority is trusted (install the system's CA certificates; check SSL_CERT_FILE and \
         SSL_CERT_DIR, if they are set)"
    )]
    Tls(#[source] std::io::Error),
    /// The system gives no threads.
    #[error("cannot start the threads that fetch")]
    Threads(#[source] std::io::Error),
}

/// A file that was fetched and is not yet proved to be a recording.
#[derive(Debug)]
pub struct Fetched {
    /// The bytes, in a file that is removed when this is dropped.
    pub file: NamedTempFile,
    /// How many; above zero.
    pub size_bytes: u64,
    /// Whether the host's answer told where it ends, by a length or by its framing, so that none of it is missing.
    pub is_end_told: bool,
    /// Their SHA-256.
    pub sha256: [u8; 32],
}

/// A recording to be fetched.
#[derive(Clone)]
struct Wanted {
    url: Url,
    /// Whose call it belongs to.
    client: String,
}

/// Fetches recordings. Share it by reference or `Arc`: connections, permits and breakers belong to it.
#[derive(Debug)]
pub struct Fetcher {
    transfers: Arc<Transfers>,
    /// For the addresses of hosts, to count them. The client asks for itself again as it connects.
    resolver: Resolver,
    hosts: Hosts,
    breakers: Breakers,
    threads: Threads,
}

impl Fetcher {
    /// A fetcher with its own connections.
    ///
    /// # Errors
    /// [`FetcherError`].
    pub fn new(settings: FetchSettings) -> Result<Self, FetcherError> {
        let resolver = Resolver::system(Guard::new(&settings.allowed));
        Self::with_resolver(settings, resolver)
    }

    fn with_resolver(settings: FetchSettings, resolver: Resolver) -> Result<Self, FetcherError> {
        let hosts = Hosts::new(settings.per_host);
        let breakers = Breakers::new(settings.backoff);
        let threads = Threads::start().map_err(FetcherError::Threads)?;
        let client = Client::new(&settings, &resolver).map_err(FetcherError::Tls)?;
        Ok(Self { transfers: Arc::new(Transfers { settings, client }), resolver, hosts, breakers, threads })
    }

    /// Waits for a permit of the host of `url`, in the clients' turns; `None` when the host is slow and has none. Take it
    /// before any other permit, so that a slow host holds up only its own recordings. Cancel-safe.
    pub(super) async fn permit(&self, url: &str, work: &Arc<Work>) -> Option<Permit> {
        self.hosts.permit(self.host_keys(url).await, work).await
    }

    /// The hosts as which this URL's host is counted. A host without addresses counts by its name; the fetch finds its fault.
    async fn host_keys(&self, url: &str) -> BTreeSet<HostKey> {
        match Url::parse(url).ok().and_then(|url| url.host().map(|host| host.to_owned())) {
            Some(Host::Ipv4(v4)) => BTreeSet::from([HostKey::of(IpAddr::V4(v4))]),
            Some(Host::Ipv6(v6)) => BTreeSet::from([HostKey::of(IpAddr::V6(v6))]),
            Some(Host::Domain(name)) => {
                let addresses = self.resolver.addresses(&name).await.unwrap_or_default();
                let keys = addresses.into_iter().map(|address| HostKey::of(address.ip()));
                keys.chain([HostKey::Name(name)]).collect()
            }
            None => BTreeSet::from([HostKey::Name(String::new())]),
        }
    }

    /// Fetches `url` into a temporary file in this space, holding `permit`, until `work` is ended. A user name and
    /// password in the URL go to its own origin alone. When the future is dropped, the connection and the file go with it.
    ///
    /// # Errors
    /// [`Failure`], which says whether another attempt is made. A host that rests fails without being asked.
    pub(super) async fn fetch(
        &self,
        permit: Permit,
        work: &Arc<Work>,
        url: &str,
        into: &Space,
    ) -> Result<Fetched, Failure> {
        let url = self.transfers.client.parse(url)?;
        let origin = url.origin().ascii_serialization();
        self.breakers.check(&origin, Instant::now())?;
        let wanted = Wanted { url: url.clone(), client: work.client().to_owned() };
        let (transfers, transferred) = (Arc::clone(&self.transfers), Arc::clone(work));
        let into = into.clone();
        let outcome =
            self.threads.run(async move { transfers.transfer(&wanted, &into, &transferred).await }).await;
        // A host whose transfer was ended for others is not sick.
        if !work.is_ended() {
            let recording = &url[Position::BeforePath..Position::AfterQuery];
            self.breakers.record(&origin, recording, outcome.as_ref().err(), Instant::now());
        }
        drop(permit);
        outcome
    }
}

fn timed_out(detail: &str) -> Failure {
    Failure::new(Reason::Timeout, detail)
}

#[cfg(test)]
mod origin;
#[cfg(test)]
mod tests;
