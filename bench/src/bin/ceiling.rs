//! The ceiling: an HTTP server that answers with the published bytes and stores nothing. No server that stores calls
//! can answer more on this machine.
//!
//! `ceiling echo` reads the body and answers the same call every time; `ceiling validate` authenticates, validates and
//! answers the call that was sent; only the storing is missing.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use callvine_domain::call::NewCall;
use chrono::{SubsecRound as _, Utc};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use yardstick::{Answer, Keys};

/// A call as long as those that are posted.
const EXAMPLE: &[u8] = br#"{"from_phone":"9087270291","to_phone":"8006000009","handled_by":"Agent Smith",
"department":"Customer Service","start_time":"2024-01-15 09:00:00","end_time":"2024-01-15 09:15:00",
"recording_url":"http://127.0.0.1:9/recordings/2024/01/15/call-000000000123-agent-smith.wav"}"#;

#[tokio::main]
async fn main() -> io::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("echo") => echo().await,
        Some("validate") => validate().await,
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: ceiling echo|validate")),
    }
}

async fn echo() -> io::Result<()> {
    let body = example_body().await?;
    yardstick::serve(move |request| {
        let body = body.clone();
        async move {
            match yardstick::read_body(request).await {
                Ok(_) => yardstick::json(StatusCode::CREATED, body),
                Err(broken) => broken,
            }
        }
    })
    .await
}

async fn example_body() -> io::Result<Bytes> {
    let call = NewCall::parse(EXAMPLE).map_err(io::Error::other)?;
    let body =
        yardstick::created(123, Arc::new(call), Utc::now().trunc_subsecs(0)).into_body().collect().await;
    Ok(body.map_or_else(|never: Infallible| match never {}, http_body_util::Collected::to_bytes))
}

async fn validate() -> io::Result<()> {
    let keys = Keys::default();
    let ids = Arc::new(AtomicI64::new(1));
    yardstick::serve(move |request| check(keys.clone(), ids.clone(), request)).await
}

async fn check(keys: Keys, ids: Arc<AtomicI64>, request: Request<Incoming>) -> Answer {
    match yardstick::read_call(&keys, request).await {
        Ok((_client, call)) => yardstick::created(
            ids.fetch_add(1, Ordering::Relaxed),
            Arc::new(call),
            Utc::now().trunc_subsecs(0),
        ),
        Err(refusal) => refusal,
    }
}
