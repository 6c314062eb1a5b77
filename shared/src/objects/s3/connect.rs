//! Connections to the S3 store, over TLS that trusts what the machine trusts.
//!
//! An `https://` store is reached through the proxy that `HTTPS_PROXY` (or `ALL_PROXY`) names, unless `NO_PROXY`
//! exempts it. An `http://` store is reached directly.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::{Scheme, Uri};
use hyper_rustls::builderstates::WantsSchemes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

type BoxError = Box<dyn Error + Send + Sync>;

/// A stream to the store, or to the proxy, which itself may be reached over TLS.
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// Opens connections, name, proxy and TLS included, within a time.
#[derive(Clone)]
pub(super) struct Connections {
    tls: HttpsConnector<Route>,
    timeout: Duration,
}

impl Connections {
    /// `is_plain` allows connections without TLS, and `timeout` bounds the opening of each.
    pub(super) fn new(is_plain: bool, timeout: Duration, proxies: Matcher) -> io::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Shared out among the addresses of a name, so that a dead one does not use up the time of the others.
        tcp.set_connect_timeout(Some(timeout));
        let to_proxy = tls()?.https_or_http().enable_http1().wrap_connector(tcp.clone());
        let route = Route { tcp, to_proxy, proxies: Arc::new(proxies) };
        let tls = if is_plain { tls()?.https_or_http() } else { tls()?.https_only() };
        // HTTP/1.1 alone: over HTTP/2, uploads at once would share one connection and its window.
        Ok(Self { tls: tls.enable_http1().wrap_connector(route), timeout })
    }
}

/// TLS that trusts what the machine, `SSL_CERT_FILE` or `SSL_CERT_DIR` trusts.
fn tls() -> io::Result<HttpsConnectorBuilder<WantsSchemes>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    HttpsConnectorBuilder::new().with_provider_and_platform_verifier(provider)
}

impl Service<Uri> for Connections {
    type Response = MaybeHttpsStream<Stream>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tls.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = timeout(self.timeout, self.tls.call(uri));
        Box::pin(async move { connecting.await? })
    }
}

/// Reaches a host, directly or through a proxy.
#[derive(Clone)]
struct Route {
    tcp: HttpConnector,
    to_proxy: HttpsConnector<HttpConnector>,
    proxies: Arc<Matcher>,
}

impl Service<Uri> for Route {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting<Stream>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let is_https = uri.scheme() == Some(&Scheme::HTTPS);
        let Some(proxy) = self.proxies.intercept(&uri).filter(|_| is_https) else {
            let connecting = self.tcp.call(uri);
            return Box::pin(async move { Ok(MaybeHttpsStream::Http(connecting.await?)) });
        };
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.to_proxy.clone());
        if let Some(credentials) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(credentials.clone());
        }
        let connecting = tunnel.call(uri);
        Box::pin(async move { Ok(connecting.await?) })
    }
}
