//! The demo's HTTP client, which asks the demo's own listener alone.

use anyhow::Context;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// One of the published test keys.
pub(super) const KEY: &str = "test_key_123";

/// A pool of connections without TLS.
pub(super) struct Client(legacy::Client<HttpConnector, Full<Bytes>>);

impl Client {
    pub(super) fn new() -> Self {
        Self(legacy::Client::builder(TokioExecutor::new()).build_http())
    }

    /// Posts `body` with the test key; returns the answer's status and JSON.
    pub(super) async fn post(&self, url: &str, body: &Value) -> anyhow::Result<(StatusCode, Value)> {
        let request = Request::post(url).header("Content-Type", "application/json");
        self.send(request, body.to_string()).await.context("cannot post a call")
    }

    /// Asks for `url` with the test key; returns the answer's JSON.
    pub(super) async fn get(&self, url: &str) -> anyhow::Result<Value> {
        let (_, body) = self.send(Request::get(url), String::new()).await.context("cannot ask for a call")?;
        Ok(body)
    }

    async fn send(
        &self,
        request: hyper::http::request::Builder,
        body: String,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let request = request.header("X-API-Key", KEY).body(Full::from(body))?;
        let answer = self.0.request(request).await.context("no answer")?;
        let status = answer.status();
        let body = answer.into_body().collect().await.context("the answer broke off")?.to_bytes();
        Ok((status, serde_json::from_slice(&body).context("the answer is not JSON")?))
    }
}
