//! Every HTTP listener of Callvine: the public one that providers post calls to, and the admin one.
//!
//! - [`Settings`], [`AdminSettings`]: flags and environment variables
//! - `stream`, [`Tls`]: plain connections, and such through TLS
//! - [`TrustedProxies`]: whose word counts for a client's address
//! - `server`, `connection`: accept, deadlines, HTTP/1.1 and HTTP/2, graceful stop
//! - `admission`: how many may be connected, and who makes room; `requests`, `sending`: what it judges by
//! - `host`: the host that a request is for
//! - `public`: from path to endpoint; the headers that every answer has
//! - `webhook`: `POST /webhook.php`, the whole order of checks from top to bottom
//! - `calls`: `GET /calls/ID`
//! - `analyses`: `PUT /calls/ID/analyses/NAME`
//! - `recording`, `byte_range`: `GET /calls/ID/recording`
//! - `openapi`: `GET /openapi.json`, on both listeners
//! - `auth`, [`KeyRing`], [`Key`]: from headers to a client and its rights, without the database
//! - `rate`: the things that are limited by rate, and how much is allowed
//! - `answer`: the type of every answer, and its deadline
//! - `body`: a bounded body within a bounded time and memory
//! - [`Intake`]: many calls, one transaction
//! - `idempotency`: the key by which a repeated request is known
//! - `rejection`: every answer that is not a success
//! - [`Admin`]: health, readiness, metrics
//! - [`metrics`]: the metrics of the listeners
//!
//! It neither publishes nor consumes: the outbox takes every stored call to the broker.

mod admin;
mod admission;
mod analyses;
mod answer;
mod auth;
mod body;
mod byte_range;
mod calls;
mod client_address;
mod connection;
mod host;
mod idempotency;
mod intake;
mod key;
mod key_ring;
pub mod metrics;
mod openapi;
mod public;
mod rate;
mod recording;
mod rejection;
mod requests;
mod sending;
mod server;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod webhook;

use std::sync::Arc;

use callvine_shared::objects::Objects;
use callvine_shared::store::Store;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use admin::Admin;
pub use admission::ConnectionLimits;
pub use client_address::TrustedProxies;
pub use idempotency::sweep_marks;
pub use intake::Intake;
pub use key::Key;
pub use key_ring::KeyRing;
pub use server::Terms;
pub use settings::{
    AdminListen, AdminSettings, ListenAddress, Settings, SettingsError, TlsSettings, TlsSettingsError,
};
pub use tls::{Files as TlsFiles, Tls, TlsError};

use body::Budget;
use metrics::AnswerMetrics;
use recording::Sender;
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
    /// Memory for bodies that have begun to arrive.
    bodies: Budget,
    /// Whose word counts for a client's address.
    proxies: TrustedProxies,
    /// Sends recordings; `None`: this process does not know where they are kept.
    recordings: Option<Sender>,
    metrics: AnswerMetrics,
}

impl Gateway {
    /// A gateway that reads calls from `store` and stores them through `intake`, for callers with one of the `keys`. A
    /// request's body may have `max_body_bytes`. The metrics recorder must be installed before.
    #[must_use]
    pub fn new(store: Store, intake: Intake, keys: Arc<KeyRing>, max_body_bytes: usize) -> Self {
        let bodies = Budget::new(max_body_bytes);
        let proxies = TrustedProxies::default();
        let metrics = AnswerMetrics::new();
        Self { store, intake, keys, max_body_bytes, bodies, proxies, recordings: None, metrics }
    }

    /// The same, sending recordings from where they are kept, if that is known.
    #[must_use]
    pub fn sending(self, objects: Option<Objects>) -> Self {
        Self { recordings: objects.map(Sender::new), ..self }
    }

    /// The same, believing these proxies about their clients' addresses.
    #[must_use]
    pub fn believing(self, proxies: TrustedProxies) -> Self {
        Self { proxies, ..self }
    }
}

/// Serves providers until `shutdown`; returns when every request is answered and every connection closed. The caller
/// bounds this wait: dropping the future drops the connections.
pub async fn serve_public(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    terms: Terms,
    shutdown: CancellationToken,
) {
    server::serve(listener, Site::Public(gateway), terms, shutdown).await;
}

/// Serves operators until `shutdown`; returns when every connection is closed. The caller bounds this wait: dropping
/// the future drops the connections.
pub async fn serve_admin(
    listener: TcpListener,
    admin: Arc<Admin>,
    tls: Option<Tls>,
    shutdown: CancellationToken,
) {
    let terms = Terms { limits: server::ADMIN_LIMITS, tls, proxies: TrustedProxies::default() };
    server::serve(listener, Site::Admin(admin), terms, shutdown).await;
}
