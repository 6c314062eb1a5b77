//! One recording's transfer: requests, answers and bodies, until all of it is in the sink.

use std::time::{Duration, Instant, SystemTime};

use callvine_shared::error_chain::Chain;
use callvine_shared::objects::Space;
use http::header::{ETAG, HeaderValue, TRANSFER_ENCODING};
use http::{StatusCode, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;
use tracing::debug;

use super::client::{Client, Resume};
use super::parts::Part;
use super::sink::Sink;
use super::unpack::{Packing, Unpacker};
use super::{FetchSettings, Fetched, Wanted, timed_out, unanswered};
use crate::recording::failure::{Failure, Reason};
use crate::recording::work::Work;

/// Most times that one broken transfer is resumed, within one fetch.
pub(super) const RESUMES_MAX: usize = 3;

/// Slowest rate of a host over any `idle_timeout` spent waiting for it: an eighth of the rate at which telephony audio is
/// spoken. A slower host would hold a permit for as long as it drips.
const BYTES_PER_SECOND_MIN: u64 = 1024;

/// Makes transfers.
#[derive(Debug)]
pub(super) struct Transfers {
    pub(super) settings: FetchSettings,
    pub(super) client: Client,
}

/// The end of one request's body.
struct Received {
    outcome: Result<(), Failure>,
    /// Whether the answer tells where it ends, instead of ending with its connection.
    is_end_told: bool,
    /// Its strong validator, by which the rest may be asked for.
    etag: Option<HeaderValue>,
}

impl Transfers {
    /// Receives the recording into a file in this space, within the timeout, until `work` is ended for others who
    /// wait. Blocks its thread while it writes.
    pub(super) async fn transfer(
        &self,
        wanted: &Wanted,
        into: &Space,
        work: &Work,
    ) -> Result<Fetched, Failure> {
        let _transferring = work.transfer();
        tokio::select! {
            outcome = timeout(self.settings.timeout, self.receive_all(wanted, into, work)) => match outcome {
                Ok(outcome) => outcome,
                Err(_) => Err(timed_out("the fetch took longer than CALLVINE_FETCH_TIMEOUT")),
            },
            () = work.ended() => {
                Err(timed_out("the host sends too slowly for a time when recordings of others wait"))
            }
        }
    }

    /// Receives the recording, and resumes a broken transfer where the host has parts.
    async fn receive_all(&self, wanted: &Wanted, into: &Space, work: &Work) -> Result<Fetched, Failure> {
        let mut sink = Sink::create(into, self.settings.bytes_max)?;
        let mut resume: Option<Resume> = None;
        let mut resumes = 0;
        loop {
            let received = self.receive(wanted, resume.as_ref(), &mut sink, work).await?;
            let Err(failure) = received.outcome else { return sink.finish(received.is_end_told) };
            let offset = sink.received_bytes();
            let got_on = offset > resume.as_ref().map_or(0, |resume| resume.offset);
            resume = match received.etag {
                Some(etag) if broke_off(&failure) && got_on && resumes < RESUMES_MAX => {
                    Some(Resume { offset, etag })
                }
                _ => return Err(failure),
            };
            resumes += 1;
            metrics::counter!(crate::metrics::RESUMES).increment(1);
        }
    }

    /// One request, its answer and its body. After an error of this function itself nothing can be resumed.
    async fn receive(
        &self,
        wanted: &Wanted,
        resume: Option<&Resume>,
        sink: &mut Sink,
        work: &Work,
    ) -> Result<Received, Failure> {
        let mut response = self.client.get(wanted, resume).await?;
        let part = Part::of(response.headers());
        let total_bytes = match (response.status(), resume, part) {
            (StatusCode::PARTIAL_CONTENT, Some(resume), Some(part)) if part.first == resume.offset => {
                part.total
            }
            (StatusCode::PARTIAL_CONTENT, Some(_), _) => {
                return Err(Failure::new(
                    Reason::Truncated,
                    "the host sent another part than it was asked for",
                ));
            }
            (StatusCode::PARTIAL_CONTENT, None, Some(part)) if part.is_whole() => part.total,
            (StatusCode::PARTIAL_CONTENT, None, _) => {
                return Err(Failure::new(
                    Reason::HttpStatus,
                    "the host answered 206 with a part of the recording",
                ));
            }
            // The host has another recording now, or can't send parts.
            (StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION, Some(_), _) => {
                sink.restart()?;
                None
            }
            (StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION, None, _) => None,
            (status, ..) => return Err(Failure::of_answer(status, response.headers(), SystemTime::now())),
        };
        sink.expect(response.body().size_hint().lower())?;
        let packing = Packing::of(response.headers());
        let etag = response.headers().get(ETAG).filter(|etag| etag.as_bytes().starts_with(b"\"")).cloned();
        let is_end_told = response.body().size_hint().exact().is_some()
            || response.headers().contains_key(TRANSFER_ENCODING)
            || response.version() == Version::HTTP_2;
        let outcome = self.receive_body(response.body_mut(), Unpacker::new(packing, sink), work).await;
        if packing != Packing::None {
            // The rest of packed bytes can't be unpacked without the beginning.
            return Ok(Received { outcome, is_end_told, etag: None });
        }
        let is_short = total_bytes.is_some_and(|total| sink.received_bytes() < total);
        let short = || Failure::new(Reason::Truncated, "the host sent fewer bytes than it promised");
        let outcome = outcome.and_then(|()| if is_short { Err(short()) } else { Ok(()) });
        Ok(Received { outcome, is_end_told, etag })
    }

    async fn receive_body(
        &self,
        body: &mut Incoming,
        mut into: Unpacker<'_>,
        work: &Work,
    ) -> Result<(), Failure> {
        let idle_timeout = self.settings.idle_timeout;
        let mut pace = Pace { window: idle_timeout, waited: Duration::ZERO, bytes: 0 };
        loop {
            let asked = Instant::now();
            let frame = match timeout(idle_timeout, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(broken(&error)),
                Ok(None) => return into.finish(),
                Err(_) => return Err(timed_out("the host stopped sending")),
            };
            // Trailers bring no bytes, but the wait for them counts.
            let chunk = frame.into_data().unwrap_or_default();
            pace.note(chunk.len() as u64, asked.elapsed())?;
            work.received(chunk.len() as u64);
            into.push(&chunk)?;
        }
    }
}

/// How fast a host sends, by the time spent waiting for it alone: that of our own disk does not count.
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

/// Whether the bytes received so far are good.
fn broke_off(failure: &Failure) -> bool {
    matches!(failure.reason, Reason::Truncated | Reason::Timeout)
}

fn broken(error: &hyper::Error) -> Failure {
    debug!(error = %Chain(error), "a transfer broke off");
    let detail = if unanswered::is_unreadable(error) {
        "what the host sends cannot be read as HTTP"
    } else {
        "the transfer broke off"
    };
    Failure::new(Reason::Truncated, detail)
}
