//! The admin listener: is the process alive, can it do its job, and what has it counted.

use std::fmt;
use std::time::Duration;

use callvine_shared::api_key::Digest;
use callvine_shared::bus::Bus;
use callvine_shared::objects::Objects;
use callvine_shared::store::Store;
use futures_util::future::OptionFuture;
use http::header::{CACHE_CONTROL, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Map, Value};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::answer::{self, Answer};
use crate::auth;
use crate::rejection::{Methods, Rejection};

/// A part that has not answered after this long is not well. Probes commonly wait for a second or more.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// The Prometheus text format.
const METRICS_TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// What an operator's request needs.
pub struct Admin {
    /// Asked for readiness.
    pub store: Store,
    /// Asked for readiness, where the process has one.
    pub bus: Option<Bus>,
    /// Asked for readiness, where the process has one.
    pub objects: Option<Objects>,
    /// Whether the process can't do its job without the broker, nor without the object store: a worker.
    pub broker_required: bool,
    /// The digest of the token that is asked for, if one is.
    pub token: Option<Digest>,
    /// What was counted.
    pub metrics: PrometheusHandle,
    /// Cancelled when the process is about to end: it is not ready then, so that a load balancer looks elsewhere.
    pub draining: CancellationToken,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
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
    match request.uri().path() {
        // Probes have no token.
        "/healthz" => get(request).map(|()| answer::json(StatusCode::OK, r#"{"status":"ok"}"#)),
        "/readyz" => {
            get(request)?;
            Ok(admin.readiness().await)
        }
        path => {
            admin.check_token(request.headers())?;
            match path {
                "/metrics" => {
                    get(request)?;
                    Ok(answer::with_body(StatusCode::OK, METRICS_TEXT, admin.metrics.render()))
                }
                _ => Err(Rejection::NotFound),
            }
        }
    }
}

fn get(request: &Request<Incoming>) -> Result<(), Rejection> {
    if Methods::Get.include(request.method()) { Ok(()) } else { Err(Rejection::Method(Methods::Get)) }
}

impl Admin {
    fn check_token(&self, headers: &HeaderMap) -> Result<(), Rejection> {
        match self.token {
            None => Ok(()),
            Some(token) if auth::bearer_token(headers).map(Digest::of) == Some(token) => Ok(()),
            Some(_) => Err(Rejection::AdminToken),
        }
    }

    /// One entry a part: `ok`, or what is wrong.
    async fn readiness(&self) -> Answer {
        let (database, broker, object_store) = tokio::join!(
            health(self.store.ping()),
            OptionFuture::from(self.bus.as_ref().map(|bus| health(bus.ping()))),
            OptionFuture::from(self.objects.as_ref().map(|objects| health(objects.ping()))),
        );
        let is_well = |part: &Option<Health>| part.as_ref().is_none_or(Health::is_ok);
        let is_ready = database.is_ok()
            && !self.draining.is_cancelled()
            // Calls are accepted without these two; recordings are not fetched.
            && (!self.broker_required || is_well(&broker) && is_well(&object_store));

        let parts = [("database", Some(database)), ("broker", broker), ("object_store", object_store)];
        let mut report: Map<String, Value> = parts
            .into_iter()
            .filter_map(|(part, health)| {
                Some((part.to_owned(), health?.err().unwrap_or("ok".to_owned()).into()))
            })
            .collect();
        if self.draining.is_cancelled() {
            report.insert("shutdown".to_owned(), "the process is about to end".into());
        }
        let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        answer::json(status, Value::Object(report).to_string())
    }
}

/// `Err`: what is wrong, for people.
type Health = Result<(), String>;

/// The outermost message alone: what lies beneath may name hosts, and probes are answered to anybody.
async fn health<E: fmt::Display>(ping: impl Future<Output = Result<(), E>>) -> Health {
    match timeout(PING_TIMEOUT, ping).await {
        Ok(answered) => answered.map_err(|error| error.to_string()),
        Err(_elapsed) => Err(format!("no answer within {} s", PING_TIMEOUT.as_secs())),
    }
}
