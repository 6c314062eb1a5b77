//! One recording's transfer: requests, answers and bodies, until all of it is in the sink.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use callvine_shared::error_chain::Chain;
use http::header::{CONTENT_RANGE, ETAG, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;
use tracing::debug;
use url::Url;

use super::client::Client;
use super::sink::{self, Sink};
use super::{FetchSettings, Fetched, timed_out};
use crate::recording::failure::{Failure, Reason};

/// Most times that one broken transfer is taken up where it broke, within one fetch.
pub(super) const RESUMES_MAX: usize = 3;

/// Slowest host that is waited for, over any `idle_timeout` that we spend waiting: an eighth of what telephony audio
/// takes as it is spoken. Anything slower keeps a place busy by dripping.
const BYTES_PER_SECOND_MIN: u64 = 1024;

/// Makes transfers.
#[derive(Debug)]
pub(super) struct Transfers {
    pub(super) settings: FetchSettings,
    pub(super) client: Client,
}

/// A transfer to take up: so many bytes are here, of this representation.
pub(super) struct Resume {
    pub(super) offset: u64,
    pub(super) etag: HeaderValue,
}

/// How one request's body ended.
struct Received {
    outcome: Result<(), Failure>,
    /// Its strong validator, by which the rest may be asked for.
    etag: Option<HeaderValue>,
}

impl Transfers {
    /// Receives the recording of `url` into a file in `directory`, in time. Writes from the thread it runs on.
    pub(super) async fn transfer(&self, url: &Url, directory: &Path) -> Result<Fetched, Failure> {
        match timeout(self.settings.timeout, self.receive_all(url, directory)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(timed_out("the fetch took longer than CALLVINE_FETCH_TIMEOUT")),
        }
    }

    /// Receives the recording, taking up a broken transfer where the host lets us.
    async fn receive_all(&self, url: &Url, directory: &Path) -> Result<Fetched, Failure> {
        let mut sink = Sink::create(directory, self.settings.bytes_max)?;
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
        sink.finish()
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
            (StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION, Some(_)) => sink.restart()?,
            (StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION, None) => {}
            (status, _) => return Err(Failure::of_answer(status, response.headers(), SystemTime::now())),
        }
        let length = response.body().size_hint().lower();
        if length.saturating_add(sink.received_bytes()) > self.settings.bytes_max {
            return Err(sink::too_large());
        }
        let etag = response.headers().get(ETAG).filter(|etag| etag.as_bytes().starts_with(b"\"")).cloned();
        Ok(Received { outcome: self.receive_body(response.body_mut(), sink).await, etag })
    }

    async fn receive_body(&self, body: &mut Incoming, sink: &mut Sink) -> Result<(), Failure> {
        let idle_timeout = self.settings.idle_timeout;
        let mut pace = Pace { window: idle_timeout, waited: Duration::ZERO, bytes: 0 };
        loop {
            let asked = Instant::now();
            let frame = match timeout(idle_timeout, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(broken(&error)),
                Ok(None) => return Ok(()),
                Err(_) => return Err(timed_out("the host stopped sending")),
            };
            // Trailers are nothing to keep, but count as waited for.
            let chunk = frame.into_data().unwrap_or_default();
            pace.note(chunk.len() as u64, asked.elapsed())?;
            sink.push(&chunk)?;
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
fn check_range(response: &Response<Incoming>, resume: &Resume) -> Result<(), Failure> {
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

fn broken(error: &hyper::Error) -> Failure {
    debug!(error = %Chain(error), "a transfer broke off");
    Failure::new(Reason::Truncated, "the transfer broke off")
}
