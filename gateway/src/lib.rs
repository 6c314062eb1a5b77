//! Every HTTP listener of Callvine: the public one that providers post calls to, and the admin one.
//!
//! - [`Settings`], [`AdminSettings`]: flags and environment variables
//! - `server`, `connection`: accept, limits, deadlines, HTTP/1.1 and HTTP/2, graceful stop
//! - `public`: from path to endpoint; the headers that every answer has
//! - `webhook`: `POST /webhook.php`, the whole order of checks from top to bottom
//! - `calls`: `GET /calls/ID`
//! - `openapi`: `GET /openapi.json`, on both listeners
//! - `auth`, [`KeyRing`], [`Key`]: from headers to a client and its rights, without the database
//! - `rate`: the things that are limited by rate, and how much is allowed
//! - `answer`: the type of every answer, and its deadline
//! - `body`: a bounded body within a bounded time
//! - [`Intake`]: many calls, one transaction
//! - `idempotency`: the key by which a repeated request is known
//! - `rejection`: every answer that is not a success
//! - [`Admin`]: health, readiness, metrics
//! - [`metrics`]: the metrics of the listeners
//!
//! It neither publishes nor consumes: the outbox takes every stored call to the broker.

mod admin;
mod answer;
mod auth;
mod body;
mod calls;
mod connection;
mod idempotency;
mod intake;
mod key;
mod key_ring;
pub mod metrics;
mod openapi;
mod public;
mod rate;
mod rejection;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod webhook;

use std::sync::Arc;

use callvine_shared::store::Store;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use admin::Admin;
pub use idempotency::sweep_marks;
pub use intake::Intake;
pub use key::Key;
pub use key_ring::KeyRing;
pub use settings::{AdminListen, AdminSettings, ListenAddress, Settings, SettingsError};

use metrics::AnswerMetrics;
use server::Site;

/// Everything that the public listener needs for its answers. Dropping it drops its handle on the [`Intake`].
#[derive(Debug)]
pub struct Gateway {
    /// For reading calls back.
    store: Store,
    /// For storing calls.
    intake: Intake,
    /// The keys that may do either.
    keys: Arc<KeyRing>,
    /// Most bytes of a request's body.
    max_body_bytes: usize,
    metrics: AnswerMetrics,
}

impl Gateway {
    /// A gateway that reads calls from `store` and stores them through `intake`, for callers with one of the `keys`. A
    /// request's body may have `max_body_bytes`. The metrics recorder must be installed before.
    #[must_use]
    pub fn new(store: Store, intake: Intake, keys: Arc<KeyRing>, max_body_bytes: usize) -> Self {
        Self { store, intake, keys, max_body_bytes, metrics: AnswerMetrics::new() }
    }
}

/// Serves providers until `shutdown`; returns when every request is answered and every connection closed. The caller
/// bounds this wait: dropping the future drops the connections.
pub async fn serve_public(listener: TcpListener, gateway: Arc<Gateway>, shutdown: CancellationToken) {
    server::serve(listener, Site::Public(gateway), shutdown).await;
}

/// Serves operators until `shutdown`; returns when every connection is closed. The caller bounds this wait: dropping
/// the future drops the connections.
pub async fn serve_admin(listener: TcpListener, admin: Arc<Admin>, shutdown: CancellationToken) {
    server::serve(listener, Site::Admin(admin), shutdown).await;
}
