//! Fetches a recording over HTTP into a temporary file, within bounds of size, time and trust.
//!
//! Which addresses may be connected to is decided by [`super::address`] alone, at every redirect. What came is not
//! looked at here: the proof that it is audio comes after.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderValue};
use reqwest::{Response, StatusCode};
use tempfile::NamedTempFile;
use tokio::time::timeout;
use tracing::debug;
use url::{Position, Url};

use super::address::{Guard, Resolver};
use super::failure::{Failure, Reason};
use crate::settings::Settings;

mod breaker;
mod client;
mod credentials;
mod hosts;
mod sink;

use breaker::Breakers;
use client::Client;
pub use credentials::{Credentials, CredentialsError};
use hosts::Hosts;
pub use hosts::Place;
use sink::Sink;
pub use sink::TEMPORARY_PREFIX;

/// Most times that one broken transfer is taken up where it broke, within one fetch.
const RESUMES_MAX: usize = 3;

/// Slowest host that is waited for, over any `idle_timeout` that we spend waiting: an eighth of what telephony audio
/// takes as it is spoken. Anything slower keeps a place busy by dripping.
const BYTES_PER_SECOND_MIN: u64 = 1024;

/// What a fetch may take and where it may go.
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
    /// What to sign in with, by host.
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

/// A recording, fetched and not yet proved to be one.
#[derive(Debug)]
pub struct Fetched {
    /// The bytes, in a file that is removed when this is dropped.
    pub file: NamedTempFile,
    /// How many; above zero.
    pub size_bytes: u64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
}

/// Fetches recordings. Share it by reference or `Arc`: connections, places and breakers belong to it.
#[derive(Debug)]
pub struct Fetcher {
    settings: FetchSettings,
    client: Client,
    hosts: Hosts,
    breakers: Breakers,
}

/// A transfer to take up: so many bytes are here, of this representation.
struct Resume {
    offset: u64,
    etag: HeaderValue,
}

/// How one request's body ended.
struct Received {
    outcome: Result<(), Failure>,
    /// Its strong validator, by which the rest may be asked for.
    etag: Option<HeaderValue>,
}

impl Fetcher {
    /// A fetcher with its own connections. A `rustls` crypto provider must be installed in the process.
    ///
    /// # Errors
    /// The client's, where TLS can't be set up.
    pub fn new(settings: FetchSettings) -> Result<Self, reqwest::Error> {
        let resolver = Resolver::system(Guard::new(&settings.allowed));
        Self::with_resolver(settings, resolver)
    }

    fn with_resolver(settings: FetchSettings, resolver: Resolver) -> Result<Self, reqwest::Error> {
        let client = Client::new(&settings, resolver)?;
        let hosts = Hosts::new(settings.per_host);
        let breakers = Breakers::new(settings.backoff);
        Ok(Self { settings, client, hosts, breakers })
    }

    /// Waits for a place at the host of `url`, first come first served; `None` when the host is slow and has none. Take
    /// it before any other scarce place, so that a slow host holds up only its own recordings. Cancel-safe.
    pub async fn enter(&self, url: &str) -> Option<Place> {
        let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
        self.hosts.enter(&host.unwrap_or_default()).await
    }

    /// As a worker does it, but for one that is turned away: it stays until it is let in.
    #[cfg(test)]
    async fn fetch(&self, url: &str, directory: &Path) -> Result<Fetched, Failure> {
        let place = loop {
            match self.enter(url).await {
                Some(place) => break place,
                None => tokio::task::yield_now().await,
            }
        };
        self.fetch_in(place, url, directory).await
    }

    /// Fetches `url` into a temporary file in `directory`, holding `place`. A user name and password in the URL go
    /// to its own origin alone. When the future is dropped, the connection and the file go with it.
    ///
    /// # Errors
    /// [`Failure`], which says whether to try again. A host that rests fails without being asked.
    pub async fn fetch_in(&self, place: Place, url: &str, directory: &Path) -> Result<Fetched, Failure> {
        let url = self.client.parse(url)?;
        let origin = url.origin().ascii_serialization();
        self.breakers.check(&origin, Instant::now())?;
        let outcome = match timeout(self.settings.timeout, self.transfer(&url, directory)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(timed_out("the fetch took longer than CALLVINE_FETCH_TIMEOUT")),
        };
        let recording = &url[Position::BeforePath..Position::AfterQuery];
        self.breakers.record(&origin, recording, outcome.as_ref().err(), Instant::now());
        drop(place);
        outcome
    }

    /// Receives the recording, taking up a broken transfer where the host lets us.
    async fn transfer(&self, url: &Url, directory: &Path) -> Result<Fetched, Failure> {
        let mut sink = Sink::create(directory, self.settings.bytes_max).await?;
        let mut resume: Option<Resume> = None;
        for resumes in 0.. {
            let received = self.receive(url, resume.as_ref(), &mut sink).await?;
            let Err(failure) = received.outcome else { break };
            let offset = sink.received_bytes();
            let got_on = offset > resume.as_ref().map_or(0, |resume| resume.offset);
            resume = match received.etag {
                Some(etag) if broke_off(&failure) && got_on && resumes < RESUMES_MAX => {
                    Some(Resume { offset, etag })
                }
                _ => return Err(failure),
            };
            metrics::counter!(crate::metrics::RESUMES).increment(1);
        }
        sink.finish().await
    }

    /// One request, its answer and its body. An error of this function itself can't be taken up.
    async fn receive(
        &self,
        url: &Url,
        resume: Option<&Resume>,
        sink: &mut Sink,
    ) -> Result<Received, Failure> {
        let mut response = self.client.get(url, resume).await?;
        match (response.status(), resume) {
            (StatusCode::PARTIAL_CONTENT, Some(resume)) => check_range(&response, resume)?,
            // The host has another recording now, or can't send parts.
            (StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION, Some(_)) => sink.restart().await?,
            (StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION, None) => {}
            (status, _) => return Err(Failure::of_answer(status, response.headers(), SystemTime::now())),
        }
        let length = response.content_length().unwrap_or(0);
        if length.saturating_add(sink.received_bytes()) > self.settings.bytes_max {
            return Err(sink::too_large());
        }
        let etag = response.headers().get(ETAG).filter(|etag| etag.as_bytes().starts_with(b"\"")).cloned();
        Ok(Received { outcome: self.receive_body(&mut response, sink).await, etag })
    }

    async fn receive_body(&self, response: &mut Response, sink: &mut Sink) -> Result<(), Failure> {
        let idle_timeout = self.settings.idle_timeout;
        let mut pace = Pace { window: idle_timeout, waited: Duration::ZERO, bytes: 0 };
        loop {
            let asked = Instant::now();
            let chunk = match timeout(idle_timeout, response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(broken(&error)),
                Err(_) => return Err(timed_out("the host stopped sending")),
            };
            pace.note(chunk.len() as u64, asked.elapsed())?;
            sink.push(&chunk).await?;
        }
    }
}

/// How fast a host sends, counting only the time spent waiting for it, and not that of our own disk.
struct Pace {
    window: Duration,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    fn note(&mut self, bytes: u64, waited: Duration) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(bytes);
        self.waited = self.waited.saturating_add(waited);
        if self.waited < self.window {
            return Ok(());
        }
        let least = u128::from(BYTES_PER_SECOND_MIN) * self.waited.as_millis() / 1000;
        if u128::from(self.bytes) < least {
            return Err(timed_out("the host sends too slowly"));
        }
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        Ok(())
    }
}

/// A partial answer must go on exactly where we are.
fn check_range(response: &Response, resume: &Resume) -> Result<(), Failure> {
    let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let start = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-'));
    if start.and_then(|(start, _)| start.parse().ok()) == Some(resume.offset) {
        Ok(())
    } else {
        Err(Failure::new(Reason::Truncated, "the host sent another part than it was asked for"))
    }
}

/// Whether what is here is good, as far as it goes.
fn broke_off(failure: &Failure) -> bool {
    matches!(failure.reason, Reason::Truncated | Reason::Timeout)
}

fn broken(error: &reqwest::Error) -> Failure {
    for cause in client::causes(error) {
        debug!(%cause, "a transfer broke off: {cause}");
    }
    Failure::new(Reason::Truncated, "the transfer broke off")
}

fn timed_out(detail: &str) -> Failure {
    Failure::new(Reason::Timeout, detail)
}

#[cfg(test)]
mod origin;
#[cfg(test)]
mod tests;
