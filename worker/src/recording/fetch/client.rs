//! The HTTP client of the fetches: one GET, its redirects, and a challenge at each of them.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE, USER_AGENT,
};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpInfo;
use hyper_util::client::legacy::{Error, ResponseFuture};
use tokio::time::timeout;
use tracing::debug;
use url::{Position, Url};

use super::connect::Connections;
use super::kept::Answered;
use super::signer::Signer;
use super::{Credentials, FetchSettings, Wanted, timed_out, unanswered};
use crate::recording::address::{Guard, Resolver};
use crate::recording::failure::{Failure, Reason};

/// Most redirects followed: as many as curl's users see at the worst, through a sign-in, a balancer and a signed storage
/// address. Each costs a request and is judged.
pub(super) const REDIRECTS_MAX: usize = 10;

/// Statuses that name another address (RFC 9110, 15.4); the others of their class mean nothing to a GET.
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

type Answer = Result<Response<Incoming>, Error>;

/// Sends requests, and judges every address that it is redirected to.
#[derive(Debug)]
pub(super) struct Client {
    connections: Connections,
    /// The headers of every request.
    headers: HeaderMap,
    guard: Guard,
    credentials: Credentials,
    /// Longest wait from the first byte sent to the head of the answer.
    head_timeout: Duration,
}

/// A transfer to be resumed: so many bytes of this representation have been received.
pub(super) struct Resume {
    pub(super) offset: u64,
    pub(super) etag: HeaderValue,
}

impl Client {
    pub(super) fn new(settings: &FetchSettings, resolver: &Resolver) -> io::Result<Self> {
        let user_agent = HeaderValue::from_static(concat!("callvine/", env!("CARGO_PKG_VERSION")));
        let headers = [
            (USER_AGENT, user_agent),
            (ACCEPT, HeaderValue::from_static("audio/*, */*;q=0.5")),
            // Some hosts pack what they send all the same; see the unpacker.
            (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
        ];
        Ok(Self {
            connections: Connections::new(settings, resolver)?,
            headers: HeaderMap::from_iter(headers),
            guard: resolver.guard().clone(),
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
        wanted: &Wanted,
        resume: Option<&Resume>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut signer = Signer::new(wanted, &self.credentials);
        let mut url = wanted.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let response = self.ask(&url, &mut signer, resume).await?;
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

    /// The answer to a GET of one URL. A Digest challenge is answered once; the host that challenges again knows no such
    /// user.
    async fn ask(
        &self,
        url: &Url,
        signer: &mut Signer<'_>,
        resume: Option<&Resume>,
    ) -> Result<Response<Incoming>, Failure> {
        let response = self.send(request(url, &self.headers, signer, resume)?).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !signer.is_challenged(url, response.headers()) {
            return Ok(response);
        }
        self.send(request(url, &self.headers, signer, resume)?).await
    }

    /// Sends a request and waits for the head of its answer. Where a connection that was kept alive ends instead, the
    /// request goes out once more, on a new connection.
    async fn send(&self, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, Failure> {
        let again = request.clone();
        let response = match self.answer(self.connections.kept.request(request)).await? {
            Err(error) if unanswered::is_stale(&error) => {
                debug!("a connection that was kept alive had ended");
                self.answer(self.connections.fresh.request(again)).await?
            }
            response => response,
        };
        let response = response.map_err(|error| unanswered::failure(&error))?;
        Answered::note(response.extensions());
        // The guard and the resolver have judged it already; this holds even if they were bypassed.
        match response.extensions().get::<HttpInfo>() {
            Some(connection)
                if self.guard.permits_connection(connection.local_addr(), connection.remote_addr()) =>
            {
                Ok(response)
            }
            _ => Err(Failure::new(Reason::BlockedAddress, "the address is not public")),
        }
    }

    /// The head of an answer, in time.
    async fn answer(&self, answer: ResponseFuture) -> Result<Answer, Failure> {
        let late = |_elapsed| timed_out("the host did not answer in time");
        timeout(self.head_timeout, answer).await.map_err(late)
    }
}

/// A GET, signed.
fn request(
    url: &Url,
    headers: &HeaderMap,
    signer: &mut Signer<'_>,
    resume: Option<&Resume>,
) -> Result<Request<Empty<Bytes>>, Failure> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = uri(url)?;
    *request.headers_mut() = headers.clone();
    if let Some(authorization) = signer.authorization(url)? {
        request.headers_mut().insert(AUTHORIZATION, authorization);
    }
    if let Some(resume) = resume {
        let range = HeaderValue::try_from(format!("bytes={}-", resume.offset)).map_err(|_| not_valid())?;
        request.headers_mut().insert(RANGE, range);
        request.headers_mut().insert(IF_RANGE, resume.etag.clone());
    }
    Ok(request)
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
