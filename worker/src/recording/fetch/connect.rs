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
use crate::recording::address::{ResolveError, Resolver};

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
pub(super) type Pool = hyper_util::client::legacy::Client<Connector, Empty<Bytes>>;

/// A pool whose connections go to addresses that `resolver` lets through. It uses no proxy, which would connect past the
/// guard.
pub(super) fn pool(settings: &FetchSettings, resolver: Resolver) -> io::Result<Pool> {
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // Divided among the addresses of a name, so that a dead one does not use up the time of the others.
    tcp.set_connect_timeout(Some(settings.connect_timeout));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = HttpsConnectorBuilder::new()
        .with_provider_and_platform_verifier(provider)?
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(tcp);
    let connector = Connector { tls, timeout: settings.connect_timeout };
    Ok(hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .pool_max_idle_per_host(settings.per_host)
        .http1_max_buf_size(READ_BYTES_MAX)
        .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .build(connector))
}

/// Opens connections, name and TLS included, within a time.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    tls: HttpsConnector<HttpConnector<Resolver>>,
    timeout: Duration,
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tls.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = timeout(self.timeout, self.tls.call(uri));
        Box::pin(async move {
            match connecting.await {
                Ok(connected) => connected,
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
