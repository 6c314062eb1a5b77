//! The listeners over real connections.

mod admin;
mod admission;
mod answers;
mod client;
mod connections;
mod deadlines;
mod http2;
mod keys;
mod limits;
mod rates;
mod strictness;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callvine_shared::store::Store;
use metrics_exporter_prometheus::PrometheusBuilder;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    Admin, ConnectionLimits, Gateway, Intake, KeyRing, Terms, TrustedProxies, serve_admin, serve_public,
};
use client::Client;

/// The published test key.
const KEY: &str = "test_key_123";

const MAX_BODY_BYTES: usize = 64 * 1024;

/// More than any test opens.
const ROOMY: ConnectionLimits = ConnectionLimits { max: 1_000, max_per_address: 1_000 };

/// A public listener over a SQLite database of its own.
struct Server {
    address: SocketAddr,
    store: Store,
    keys: Arc<KeyRing>,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
    committing: JoinHandle<()>,
    _directory: TempDir,
}

impl Server {
    async fn start() -> Self {
        Self::start_holding(ROOMY, 100).await
    }

    async fn start_holding(limits: ConnectionLimits, max_in_flight: usize) -> Self {
        let (directory, store) = database().await;
        Self::start_with(directory, store.clone(), store, limits, max_in_flight).await
    }

    /// `calls_store` is where calls go; the keys come from `store`.
    async fn start_with(
        directory: TempDir,
        store: Store,
        calls_store: Store,
        limits: ConnectionLimits,
        max_in_flight: usize,
    ) -> Self {
        let keys = Arc::new(KeyRing::load(&store, true).await.unwrap());
        let (intake, committing) = Intake::start(calls_store.clone(), Arc::default(), max_in_flight);
        let gateway = Gateway::new(calls_store, intake, keys.clone(), MAX_BODY_BYTES);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let terms = Terms { limits, tls: None, proxies: TrustedProxies::default() };
        let serving = tokio::spawn(serve_public(listener, Arc::new(gateway), terms, shutdown.clone()));
        Self { address, store, keys, shutdown, serving, committing, _directory: directory }
    }

    /// A server whose database for calls accepts connections and then says nothing.
    async fn start_without_database(max_in_flight: usize) -> (Self, TcpListener) {
        let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgres://nobody@{}/none", mute.local_addr().unwrap());
        let (directory, store) = database().await;
        let calls_store = Store::connect(&url).await.unwrap();
        (Self::start_with(directory, store, calls_store, ROOMY, max_in_flight).await, mute)
    }

    async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Stops everything in order, and waits for it.
    async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap();
        self.committing.await.unwrap();
    }
}

/// Asks until the condition holds; fails the test if it does not `within` this time.
async fn eventually(within: Duration, what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + within;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn database() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::connect(&format!("sqlite://{}/calls.db", directory.path().display())).await.unwrap();
    store.migrate().await.unwrap();
    (directory, store)
}

async fn start_admin(store: Store, token: Option<&str>, draining: &CancellationToken) -> SocketAddr {
    let admin = Admin {
        store,
        bus: None,
        objects: None,
        broker_required: false,
        token: token.map(|token| callvine_shared::api_key::Digest::of(token.as_bytes())),
        metrics: PrometheusBuilder::new().build_recorder().handle(),
        draining: draining.clone(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the test's runtime.
    tokio::spawn(serve_admin(listener, Arc::new(admin), None, CancellationToken::new()));
    address
}

/// The published example.
const CALL: &str = concat!(
    r#"{"from_phone":"9087270291","to_phone":"8006000009","handled_by":"Agent Smith","#,
    r#""department":"Customer Service","start_time":"2024-01-15 09:00:00","#,
    r#""end_time":"2024-01-15 09:15:00","recording_url":"https://example.com/recordings/call123.wav"}"#,
);
