//! Connections of the fetches: to addresses that the guard has judged, over TLS where the URL says so, with bounded
//! buffers.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Empty;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::FetchSettings;
use super::kept::Noted;
use crate::recording::address::{Port, ResolveError, Resolver};

/// How long an idle connection is kept for the next recording of its host. Short, since its address was judged when
/// it was opened.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Most bytes read from a connection at once, and largest head of an answer. A fetch holds up to three of these: one
/// being read, one on its way, one in the sink.
const READ_BYTES_MAX: usize = 128 * 1024;

/// Most bytes of one recording that an HTTP/2 host may send ahead of our reading.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// Most bytes of all recordings on one connection that an HTTP/2 host may send ahead of our reading.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

type BoxError = Box<dyn Error + Send + Sync>;

/// A client with a pool of connections.
type Pool = hyper_util::client::legacy::Client<Connector, Empty<Bytes>>;

/// The connections of the fetches. They go to addresses that the resolver lets through, and through no proxy, which would
/// connect past the guard.
#[derive(Debug)]
pub(super) struct Connections {
    /// Connections are kept for the next recording of their host.
    pub(super) kept: Pool,
    /// Each request has a connection of its own.
    pub(super) fresh: Pool,
}

impl Connections {
    pub(super) fn new(settings: &FetchSettings, resolver: &Resolver) -> io::Result<Self> {
        let connector = Connector {
            of_web_servers: tls(settings, resolver.clone().for_port(Port::OfWebServers))?,
            of_listed_networks: tls(settings, resolver.clone().for_port(Port::OfListedNetworks))?,
            timeout: settings.connect_timeout,
        };
        Ok(Self { kept: pool(connector.clone(), settings.per_host), fresh: pool(connector, 0) })
    }
}

/// A pool that keeps so many idle connections of one host.
fn pool(connector: Connector, idle_max: usize) -> Pool {
    hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .pool_max_idle_per_host(idle_max)
        .http1_max_buf_size(READ_BYTES_MAX)
        // Browsers and curl read these headers of old media servers too (RFC 9112, 5.1 and 5.2).
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_ignore_invalid_headers_in_responses(true)
        .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .build(connector)
}

fn tls(settings: &FetchSettings, resolver: Resolver) -> io::Result<HttpsConnector<HttpConnector<Resolver>>> {
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // Divided among the addresses of a name, so that a dead one does not use up the time of the others.
    tcp.set_connect_timeout(Some(settings.connect_timeout));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(HttpsConnectorBuilder::new()
        .with_provider_and_platform_verifier(provider)?
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(tcp))
}

/// Opens connections, name and TLS included, within a time.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    of_web_servers: HttpsConnector<HttpConnector<Resolver>>,
    of_listed_networks: HttpsConnector<HttpConnector<Resolver>>,
    timeout: Duration,
}

impl Service<Uri> for Connector {
    type Response = Noted<MaybeHttpsStream<TokioIo<TcpStream>>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.of_web_servers.poll_ready(context)? {
            Poll::Ready(()) => self.of_listed_networks.poll_ready(context),
            Poll::Pending => Poll::Pending,
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let tls = match Port::of(port) {
            Port::OfWebServers => &mut self.of_web_servers,
            Port::OfListedNetworks => &mut self.of_listed_networks,
        };
        let connecting = timeout(self.timeout, tls.call(uri));
        Box::pin(async move {
            match connecting.await {
                Ok(connected) => connected.map(Noted::new),
                Err(_elapsed) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            }
        })
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ResolveError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move { Ok(resolver.addresses(name.as_str()).await?.into_iter()) })
    }
}
