//! The HTTP client of the fetches: one GET, its redirects, and the credentials for each origin.

use std::error::Error;
use std::io;
use std::iter::successors;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE, USER_AGENT,
};
use http::{Request, Response, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpInfo;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;
use tracing::debug;
use url::{Position, Url};

use super::connect::{self, Pool};
use super::credentials::basic;
use super::transfer::Resume;
use super::{Credentials, FetchSettings, timed_out};
use crate::recording::address::{Guard, ResolveError, Resolver};
use crate::recording::failure::{Failure, Reason};

/// Most redirects followed: one to https, one to a storage host, one to spare.
const REDIRECTS_MAX: usize = 3;

/// Statuses that name another address (RFC 9110, 15.4); the others of their class mean nothing to a GET.
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

/// Sends requests, and judges every address that it is redirected to.
#[derive(Debug)]
pub(super) struct Client {
    pool: Pool,
    /// The headers of every request.
    headers: HeaderMap,
    guard: Guard,
    credentials: Credentials,
    /// Longest wait from the first byte sent to the head of the answer.
    head_timeout: Duration,
}

impl Client {
    pub(super) fn new(settings: &FetchSettings, resolver: Resolver) -> io::Result<Self> {
        let user_agent = HeaderValue::from_static(concat!("callvine/", env!("CARGO_PKG_VERSION")));
        let headers = [
            (USER_AGENT, user_agent),
            (ACCEPT, HeaderValue::from_static("audio/*, */*;q=0.5")),
            // Contents are never decoded here, so that there are no decompression bombs.
            (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
        ];
        Ok(Self {
            pool: connect::pool(settings, resolver)?,
            headers: HeaderMap::from_iter(headers),
            guard: Guard::new(&settings.allowed),
            credentials: settings.credentials.clone(),
            head_timeout: settings.connect_timeout.saturating_add(settings.idle_timeout),
        })
    }

    /// Parses and judges a recording's URL.
    pub(super) fn parse(&self, url: &str) -> Result<Url, Failure> {
        self.guard.parse(url)
    }

    /// The answer to a GET, after at most [`REDIRECTS_MAX`] redirects, each of which is judged as the first address was.
    pub(super) async fn get(
        &self,
        first: &Url,
        resume: Option<&Resume>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut url = first.clone();
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send(self.request(&url, first, resume)?).await?;
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

    fn request(
        &self,
        url: &Url,
        first: &Url,
        resume: Option<&Resume>,
    ) -> Result<Request<Empty<Bytes>>, Failure> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri(url)?;
        *request.headers_mut() = self.headers.clone();
        if let Some(authorization) = self.authorization(url, first)? {
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        if let Some(resume) = resume {
            let range =
                HeaderValue::try_from(format!("bytes={}-", resume.offset)).map_err(|_| not_valid())?;
            request.headers_mut().insert(RANGE, range);
            request.headers_mut().insert(IF_RANGE, resume.etag.clone());
        }
        Ok(request)
    }

    /// The header to sign in with: the user name and password of the URL, those of the recording's URL at its own origin,
    /// or those of the credentials file for this host.
    fn authorization(&self, url: &Url, first: &Url) -> Result<Option<HeaderValue>, Failure> {
        let named =
            [url, first].into_iter().find(|named| !anonymous(named) && named.origin() == url.origin());
        if let Some(named) = named {
            let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
            let (user, password) = (decoded(named.username()), decoded(named.password().unwrap_or_default()));
            return basic(&user, &password).map(Some).ok_or_else(not_valid);
        }
        let credential = self.credentials.of(url);
        credential.map(|credential| credential.authorization().ok_or_else(not_valid)).transpose()
    }

    /// Sends a request and waits for the head of its answer.
    async fn send(&self, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, Failure> {
        let response = match timeout(self.head_timeout, self.pool.request(request)).await {
            Ok(response) => response.map_err(|error| unanswered(&error))?,
            Err(_) => return Err(timed_out("the host did not answer in time")),
        };
        // The guard and the resolver have judged it already; this holds even if they were bypassed.
        match response.extensions().get::<HttpInfo>() {
            Some(connection) if self.guard.permits(connection.remote_addr().ip()) => Ok(response),
            _ => Err(Failure::new(Reason::BlockedAddress, "the address is not public")),
        }
    }
}

/// The address of a request: without user name and password, which go into a header, and without the fragment, which is
/// never sent.
fn uri(url: &Url) -> Result<Uri, Failure> {
    let host = url.host_str().ok_or_else(not_valid)?;
    let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let path = &url[Position::BeforePath..Position::AfterQuery];
    Uri::builder()
        .scheme(url.scheme())
        .authority(authority)
        .path_and_query(path)
        .build()
        .map_err(|_| not_valid())
}

fn not_valid() -> Failure {
    Failure::new(Reason::BlockedAddress, "the address is not a valid URL")
}

fn anonymous(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

/// The address that this answer redirects to, if any.
fn redirect(response: &Response<Incoming>, url: &Url) -> Result<Option<Url>, Failure> {
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

/// The failure of a request without an answer. The causes may name addresses of this network, so they go to the log alone.
fn unanswered(error: &hyper_util::client::legacy::Error) -> Failure {
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
    if error.is_connect() {
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

/// Everything below an error of the client.
fn causes(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    successors(error.source(), |cause| Error::source(*cause))
}
