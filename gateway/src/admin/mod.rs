//! The admin listener: health, readiness and metrics, for operators and their machines.

mod metrics;
mod readiness;

use std::fmt;

use callvine_shared::api_key::Digest;
use callvine_shared::bus::Bus;
use callvine_shared::objects::Objects;
use callvine_shared::store::Store;
use http::header::{CACHE_CONTROL, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::answer::{self, Answer};
use crate::rejection::{Methods, Rejection};
use crate::{auth, host, openapi};

/// Everything that the admin listener needs for its answers.
pub struct Admin {
    /// Asked for readiness.
    pub store: Store,
    /// Asked for readiness, where the process has one.
    pub bus: Option<Bus>,
    /// Asked for readiness, where the process has one.
    pub objects: Option<Objects>,
    /// Whether the process is ready only with its broker and its object store: a worker.
    pub broker_required: bool,
    /// The digest of the token that callers must send; `None`: no token is needed.
    pub token: Option<Digest>,
    /// Rendered for `/metrics`.
    pub metrics: PrometheusHandle,
    /// Cancelled when the process is about to end. It is then unready, so that a load balancer looks elsewhere.
    pub draining: CancellationToken,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    fn check_token(&self, headers: &HeaderMap) -> Result<(), Rejection> {
        match self.token {
            None => Ok(()),
            Some(token) if auth::bearer_token(headers).map(Digest::of) == Some(token) => Ok(()),
            Some(_) => Err(Rejection::AdminToken),
        }
    }
}

/// Answers a request.
pub(crate) async fn answer(admin: &Admin, request: &Request<Incoming>) -> Answer {
    let mut answer = route(admin, request).await.unwrap_or_else(|rejection| {
        debug!("the admin listener answers {}: {rejection}", rejection.status());
        rejection.into_answer()
    });
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if request.method() == Method::HEAD { answer::without_body(answer) } else { answer }
}

async fn route(admin: &Admin, request: &Request<Incoming>) -> Result<Answer, Rejection> {
    host::check(request)?;
    if admin.token.is_none() {
        // Such a listener is on loopback, and trusts everybody there, browsers among them.
        host::check_local(request)?;
    }
    match request.uri().path() {
        // Probes have no token.
        "/healthz" => get(request).map(|()| answer::json(StatusCode::OK, r#"{"status":"ok"}"#)),
        "/readyz" => {
            get(request)?;
            Ok(readiness::show(admin).await)
        }
        // It tells what the published files tell.
        "/openapi.json" => get(request).map(|()| openapi::show()),
        path => {
            admin.check_token(request.headers())?;
            match path {
                "/metrics" => get(request).map(|()| metrics::show(&admin.metrics)),
                _ => Err(Rejection::NotFound),
            }
        }
    }
}

fn get(request: &Request<Incoming>) -> Result<(), Rejection> {
    let methods = Methods::AdminGet;
    if methods.include(request.method()) { Ok(()) } else { Err(Rejection::Method(methods)) }
}
