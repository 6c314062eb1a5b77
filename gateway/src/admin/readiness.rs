//! `/readyz`: whether the process can do its job, asked of each part that it needs.

use std::fmt;
use std::time::Duration;

use futures_util::future::OptionFuture;
use http::StatusCode;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::Admin;
use crate::answer::{self, Answer};

/// A part that has not answered after this long is unhealthy. Probes commonly wait for a second or more.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// `Err`: the fault, for people.
type Health = Result<(), String>;

/// Asks all parts at once. The answer has one entry a part: `ok`, or its fault.
pub(super) async fn show(admin: &Admin) -> Answer {
    let (database, broker, object_store) = tokio::join!(
        health(admin.store.ping()),
        OptionFuture::from(admin.bus.as_ref().map(|bus| health(bus.ping()))),
        OptionFuture::from(admin.objects.as_ref().map(|objects| health(objects.ping()))),
    );
    let is_well = |part: &Option<Health>| part.as_ref().is_none_or(Health::is_ok);
    let is_ready = database.is_ok()
        && !admin.draining.is_cancelled()
        // A gateway accepts calls without these two; only a worker needs them.
        && (!admin.broker_required || is_well(&broker) && is_well(&object_store));

    let parts = [("database", Some(database)), ("broker", broker), ("object_store", object_store)];
    let mut report: Map<String, Value> = parts
        .into_iter()
        .filter_map(|(part, health)| Some((part.to_owned(), health?.err().unwrap_or("ok".to_owned()).into())))
        .collect();
    if admin.draining.is_cancelled() {
        report.insert("shutdown".to_owned(), "the process is about to end".into());
    }
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::json(status, Value::Object(report).to_string())
}

/// Keeps the outermost message alone: its sources may name hosts, and probes are answered without a token.
async fn health<E: fmt::Display>(ping: impl Future<Output = Result<(), E>>) -> Health {
    match timeout(PING_TIMEOUT, ping).await {
        Ok(answered) => answered.map_err(|error| error.to_string()),
        Err(_elapsed) => Err(format!("no answer within {} s", PING_TIMEOUT.as_secs())),
    }
}
