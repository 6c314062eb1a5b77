//! The HTTP client of the fetches: one GET, its redirects, and what each origin is told to sign in with.

use std::error::Error;
use std::io;
use std::iter::successors;
use std::time::Duration;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE};
use reqwest::{RequestBuilder, Response};
use tokio::time::timeout;
use tracing::debug;
use url::Url;

use super::{Credentials, FetchSettings, Resume, timed_out};
use crate::recording::address::{Guard, ResolveError, Resolver};
use crate::recording::failure::{Failure, Reason};

/// Most redirects followed: one to https, one to a storage host, one to spare.
const REDIRECTS_MAX: usize = 3;

/// How long an idle connection is kept for the next recording of its host. Short, since its address was judged when
/// it was opened.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Statuses that say where else to look (RFC 9110, 15.4); the others of their class bring nothing to a GET.
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

/// Asks hosts, and judges where it is sent.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    guard: Guard,
    credentials: Credentials,
    /// Longest wait from the first byte sent to the head of the answer.
    head_timeout: Duration,
}

impl Client {
    pub(super) fn new(settings: &FetchSettings, resolver: Resolver) -> Result<Self, reqwest::Error> {
        let headers = [
            (ACCEPT, HeaderValue::from_static("audio/*, */*;q=0.5")),
            (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
        ];
        let http = reqwest::Client::builder()
            .user_agent(concat!("callvine/", env!("CARGO_PKG_VERSION")))
            .default_headers(HeaderMap::from_iter(headers))
            // A proxy from the environment would connect in our stead, past the guard.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            // Said again here, so that no feature of another crate can switch decompression bombs on.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(settings.per_host)
            .dns_resolver(resolver)
            .build()?;
        Ok(Self {
            http,
            guard: Guard::new(&settings.allowed),
            credentials: settings.credentials.clone(),
            head_timeout: settings.connect_timeout.saturating_add(settings.idle_timeout),
        })
    }

    /// Parses and judges a recording's URL.
    pub(super) fn parse(&self, url: &str) -> Result<Url, Failure> {
        self.guard.parse(url)
    }

    /// The answer to a GET, after at most [`REDIRECTS_MAX`] redirects, each judged as the first address was.
    pub(super) async fn get(&self, first: &Url, resume: Option<&Resume>) -> Result<Response, Failure> {
        let mut url = first.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut request = self.signed(&url, first)?;
            if let Some(resume) = resume {
                let range = format!("bytes={}-", resume.offset);
                request = request.header(RANGE, range).header(IF_RANGE, &resume.etag);
            }
            let response = self.send(request).await?;
            let Some(next) = redirect(&response, &url)? else {
                return Ok(response);
            };
            self.guard.judge(&next)?;
            if url.scheme() == "https" && next.scheme() == "http" {
                return Err(Failure::new(Reason::BlockedAddress, "the host redirects from https to http"));
            }
            url = next;
        }
        Err(Failure::new(Reason::HttpStatus, format!("the host redirects more than {REDIRECTS_MAX} times")))
    }

    /// A GET that signs in: with the user name and password of the URL, those of the recording's URL at its own
    /// origin, or what the credentials file has for this host.
    fn signed(&self, url: &Url, first: &Url) -> Result<RequestBuilder, Failure> {
        if !anonymous(url) {
            return Ok(self.http.get(url.clone()));
        }
        if !anonymous(first) && url.origin() == first.origin() {
            let mut signed = url.clone();
            signed
                .set_username(first.username())
                .and_then(|()| signed.set_password(first.password()))
                .map_err(|()| Failure::new(Reason::BlockedAddress, "the address is not a valid URL"))?;
            return Ok(self.http.get(signed));
        }
        let request = self.http.get(url.clone());
        Ok(match self.credentials.of(url) {
            Some(credential) => credential.sign(request),
            None => request,
        })
    }

    /// Sends a request and waits for the head of its answer.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = match timeout(self.head_timeout, request.send()).await {
            Ok(response) => response.map_err(|error| unanswered(&error))?,
            Err(_) => return Err(timed_out("the host did not answer in time")),
        };
        // Belt and braces: the guard and the resolver have judged it already.
        match response.remote_addr() {
            Some(address) if self.guard.permits(address.ip()) => Ok(response),
            _ => Err(Failure::new(Reason::BlockedAddress, "the address is not public")),
        }
    }
}

fn anonymous(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

/// Where this answer sends us, if it does.
fn redirect(response: &Response, url: &Url) -> Result<Option<Url>, Failure> {
    if !REDIRECTS.contains(&response.status().as_u16()) {
        return Ok(None);
    }
    let Some(location) = response.headers().get(LOCATION) else {
        return Ok(None);
    };
    let next = std::str::from_utf8(location.as_bytes()).ok().and_then(|location| url.join(location).ok());
    let next =
        next.ok_or_else(|| Failure::new(Reason::BlockedAddress, "the host redirects to no valid URL"))?;
    Ok(Some(next))
}

/// What went wrong before there was an answer. The causes themselves, which may name addresses of this network, go
/// to the log alone.
fn unanswered(error: &reqwest::Error) -> Failure {
    for cause in causes(error) {
        debug!(%cause, "a fetch was not answered: {cause}");
        if let Some(error) = cause.downcast_ref::<ResolveError>() {
            return Failure::from(*error);
        }
        if is_tls(cause) {
            return Failure::new(Reason::Tls, "the host's TLS is not valid");
        }
        if cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return timed_out("the host could not be connected to in time");
        }
    }
    if error.is_timeout() {
        timed_out("the host could not be connected to in time")
    } else if error.is_connect() {
        Failure::new(Reason::Connect, "the host could not be connected to")
    } else {
        Failure::new(Reason::Connect, "the host closed the connection without an answer")
    }
}

/// An I/O error does not name the error it wraps as its source, and here one wraps another.
fn is_tls(cause: &(dyn Error + 'static)) -> bool {
    let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    cause.is::<rustls::Error>() || wrapped.is_some_and(|wrapped| is_tls(wrapped))
}

/// Everything below an error of the client, whose own text would name the URL.
pub(super) fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    successors(error.source(), |cause| Error::source(*cause))
}
