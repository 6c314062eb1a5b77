//! Accepts a listener's connections up to a bound, plain or through TLS, speaks HTTP/1.1 or HTTP/2 (agreed on by ALPN, or by
//! prior knowledge) on them, and closes them gracefully.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use callvine_shared::pause::pause;
use futures_util::FutureExt as _;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::admission::{Admission, ConnectionLimits, Place};
use crate::answer::Answer;
use crate::client_address::TrustedProxies;
use crate::connection::Connection;
use crate::requests::Requests;
use crate::sending::Sending;
use crate::stream::Stream;
use crate::tls::Tls;
use crate::{Admin, Gateway, admin, public};

/// Most connections of operators: probes, scrapes and a few browsers. All of them may come through one proxy.
pub(crate) const ADMIN_LIMITS: ConnectionLimits = ConnectionLimits { max: 256, max_per_address: 256 };

/// Pause after a failed `accept`: when file descriptors have run out, it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long an idle connection stays open when the listener ends, for one more request that may be on its way: closing at
/// once would lose it, and few clients send a POST again by themselves. The answer to it says that the connection ends.
/// HTTP/2 needs no such wait, since it has a frame for this.
const LAST_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// Most bytes of a request's head, and of a body read ahead. hyper's own bound of 400 KiB would let a few thousand
/// clients hold a gigabyte.
const READ_BUFFER_MAX_BYTES: usize = 32 * 1024;

/// Most bytes of an HTTP/2 request's head, uncompressed.
const HTTP2_HEAD_MAX_BYTES: u32 = 16 * 1024;

/// Most requests at once on one HTTP/2 connection: the least that RFC 9113, section 6.5.2, recommends.
const HTTP2_STREAMS_MAX: u32 = 100;

/// Most bytes that a client may send ahead of what is read of one request's body: a body of the usual largest size.
const HTTP2_STREAM_WINDOW_BYTES: u32 = 64 * 1024;

/// The same for all requests of a connection. Bodies are read as they arrive, so that this bounds what has arrived and is
/// not yet read; hyper's own megabyte would let a thousand clients hold a gigabyte.
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 128 * 1024;

/// Most bytes of answers that wait for the client to read, for each request.
const HTTP2_SEND_BUFFER_MAX_BYTES: usize = 64 * 1024;

/// Most HTTP/2 requests of a connection that were reset before they were handled; a client with more is attacking
/// (CVE-2023-44487).
const HTTP2_RESETS_MAX: usize = 20;

/// The answers that a listener gives.
#[derive(Clone, Debug)]
pub(crate) enum Site {
    /// Those for providers.
    Public(Arc<Gateway>),
    /// Those for operators.
    Admin(Arc<Admin>),
}

impl Site {
    fn name(&self) -> &'static str {
        match self {
            Self::Public(_) => "public",
            Self::Admin(_) => "admin",
        }
    }

    async fn answer(self, request: Request<Incoming>, peer: IpAddr) -> Answer {
        match self {
            Self::Public(gateway) => public::answer(&gateway, request, peer).await,
            // Boxed, since it is larger and rare.
            Self::Admin(admin) => Box::pin(admin::answer(&admin, &request)).await,
        }
    }
}

/// Accepts and serves connections until `shutdown`, then waits until the last one is closed.
pub(crate) async fn serve(listener: TcpListener, site: Site, terms: Terms, shutdown: CancellationToken) {
    let tasks = TaskTracker::new();
    let http = Arc::new(http(tasks.clone()));
    let Terms { limits, tls, proxies } = terms;
    let admission = Admission::new(site.name(), limits, proxies);
    while let Some(accepted) = shutdown.run_until_cancelled(accept(&listener)).await {
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!("the {} listener can't accept: {error}", site.name());
                // File descriptors may have run out.
                admission.make_room();
                pause(ACCEPT_PAUSE, &shutdown).await;
                continue;
            }
        };
        match shutdown.run_until_cancelled(admission.admit(client, &shutdown)).await {
            Some(Some(place)) => {
                let (site, http, tls) = (site.clone(), Arc::clone(&http), tls.clone());
                tasks.spawn(async move {
                    if let Some(stream) = agreed(stream, tls, &place).await {
                        serve_connection((stream, client), place, site, http).await;
                    }
                });
            }
            Some(None) => drop(stream),
            None => break,
        }
    }
    // From here on the system refuses new clients, rather than leave them waiting.
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// The terms on which a listener takes connections.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How many it holds.
    pub limits: ConnectionLimits,
    /// The proof of who it is, where it speaks TLS.
    pub tls: Option<Tls>,
    /// The proxies that may have more connections than other addresses.
    pub proxies: TrustedProxies,
}

/// The stream of a client: as it is, or after its TLS handshake. `None`: there was none, or the connection must end.
async fn agreed(stream: TcpStream, tls: Option<Tls>, place: &Place) -> Option<Stream> {
    if let Err(error) = stream.set_nodelay(true) {
        debug!("a connection can't be told to send without delay: {error}");
    }
    let Some(tls) = tls else { return Some(Stream::Plain(stream)) };
    let mut accepting = pin!(tls.accept(stream));
    let accepted = match place.end.run_until_cancelled(accepting.as_mut()).await {
        Some(accepted) => accepted,
        None if place.must_be_left_at_once() => return None,
        // A request may follow at once, as on an idle connection.
        None => timeout(LAST_REQUEST_TIMEOUT, accepting).await.ok()?,
    };
    match accepted {
        Ok(stream) => Some(Stream::Tls(Box::new(stream))),
        Err(error) => {
            debug!("a TLS handshake failed: {error}");
            None
        }
    }
}

/// The next connection, and its client's address.
async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, IpAddr)> {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return Ok((stream, address.ip())),
            // That client has left already; another may be waiting.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
}

fn http(tasks: TaskTracker) -> auto::Builder<Tasks> {
    let mut http = auto::Builder::new(Tasks(tasks));
    http.http1()
        // A client may close its half after its request, and still wants the answer.
        .half_close(true)
        .max_buf_size(READ_BUFFER_MAX_BYTES)
        // `Connection` has the deadlines.
        .header_read_timeout(None);
    http.http2()
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(HTTP2_HEAD_MAX_BYTES)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(HTTP2_SEND_BUFFER_MAX_BYTES)
        .max_pending_accept_reset_streams(HTTP2_RESETS_MAX);
    http
}

/// Spawns the tasks of HTTP/2 requests where the stop waits for them.
#[derive(Clone, Debug)]
struct Tasks(TaskTracker);

impl<F> Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

/// Answers the requests of one connection.
struct Answering {
    site: Site,
    requests: Requests,
    admission: Arc<Admission>,
    /// The other end of the connection.
    peer: IpAddr,
}

impl Service<Request<Incoming>> for Answering {
    type Response = Response<Sending>;
    type Error = Infallible;
    /// Boxed, because hyper moves it a few times before it is polled, and keeps room for one in each connection.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let version = request.version();
        let mut under_way = self.requests.begin(version);
        let (site, requests, peer) = (self.site.clone(), self.requests.clone(), self.peer);
        let admission = (version == Version::HTTP_2).then(|| Arc::clone(&self.admission));
        Box::pin(async move {
            under_way.started();
            let mut answer = site.answer(request, peer).await;
            if requests.are_ending() && version < Version::HTTP_2 {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if let Some(admission) = admission {
                under_way.answered();
                admission.bound_unsent();
            }
            Ok(answer.map(|body| Sending::new(body, under_way)))
        })
    }
}

async fn serve_connection(
    (stream, peer): (Stream, IpAddr),
    place: Place,
    site: Site,
    http: Arc<auto::Builder<Tasks>>,
) {
    let requests = &place.requests;
    let io = TokioIo::new(Connection::new(stream, requests.clone()));
    let service =
        Answering { site, requests: requests.clone(), admission: Arc::clone(place.admission()), peer };
    let mut connection = pin!(http.serve_connection(io, service));
    let ended = match place.end.run_until_cancelled(connection.as_mut()).await {
        Some(ended) => ended,
        None => {
            // A request may have arrived that the connection has not yet seen.
            let ended = connection.as_mut().now_or_never();
            if ended.is_some() || place.must_be_left_at_once() {
                return;
            }
            requests.end();
            let wait = if requests.are_http2() { Duration::ZERO } else { LAST_REQUEST_TIMEOUT };
            match timeout(wait, connection.as_mut()).await {
                Ok(ended) => ended,
                Err(_elapsed) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    };
    if let Err(error) = ended {
        debug!("a connection failed: {error}");
    }
}
