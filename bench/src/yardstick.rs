//! The common part of the yardsticks `ceiling` and `naive`: a plain HTTP/1.1 server by hyper, the key, and the
//! published answers. It has no limits, metrics or orderly stop, so that it is fast and short.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use callvine_domain::api_key::{Digest, Environment};
use callvine_domain::call::{Call, CallId, Invalid, NewCall, RecordingUrl};
use chrono::{DateTime, Utc};
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_TYPE, HeaderName, HeaderValue,
    LOCATION,
};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use uuid::Uuid;

/// The only key that a yardstick accepts.
pub const API_KEY: &str = "test_key_123";

/// Bytes of an answer with short names; most answers are a little shorter.
const ANSWER_CAPACITY_BYTES: usize = 640;

/// A whole answer.
pub type Answer = Response<Full<Bytes>>;

/// The keys, found by their digest, as in the program.
#[derive(Clone, Debug)]
pub struct Keys(Arc<HashMap<Digest, Arc<str>>>);

impl Default for Keys {
    fn default() -> Self {
        Self(Arc::new(HashMap::from([(Digest::of(API_KEY.as_bytes()), Arc::from("bench"))])))
    }
}

impl Keys {
    fn client(&self, headers: &HeaderMap) -> Option<Arc<str>> {
        self.0.get(&Digest::of(headers.get("x-api-key")?.as_bytes())).cloned()
    }
}

/// Reads a call, and the client that its key belongs to.
///
/// # Errors
/// The answer to a request without a valid key or a valid call.
pub async fn read_call(keys: &Keys, request: Request<Incoming>) -> Result<(Arc<str>, NewCall), Answer> {
    let Some(client) = keys.client(request.headers()) else {
        return Err(failed(StatusCode::UNAUTHORIZED, "Invalid API key", "The provided API key is not valid"));
    };
    let body = read_body(request).await?;
    NewCall::parse(&body).map(|call| (client, call)).map_err(|invalid| refused(&invalid))
}

/// Reads a body to its end.
///
/// # Errors
/// The answer to a body that breaks off.
pub async fn read_body(request: Request<Incoming>) -> Result<Bytes, Answer> {
    let body = request.into_body().collect().await;
    let broken = |_error| failed(StatusCode::BAD_REQUEST, "Incomplete body", "The body must arrive whole");
    body.map(http_body_util::Collected::to_bytes).map_err(broken)
}

/// The published 201, with all headers that the program sends.
#[must_use]
pub fn created(id: i64, call: Arc<NewCall>, created_at: DateTime<Utc>) -> Answer {
    let mut body = Vec::with_capacity(ANSWER_CAPACITY_BYTES);
    body.extend_from_slice(br#"{"success":true,"message":"Call log created successfully","data":"#);
    Call { id: CallId(id), call, created_at, env: Environment::Live }
        .write_json(RecordingUrl::AsSent, &mut body);
    body.push(b'}');
    let mut answer = json(StatusCode::CREATED, body.into());
    if let Ok(location) = HeaderValue::try_from(format!("/calls/{id}")) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

/// An answer in the published form of errors.
#[must_use]
pub fn failed(status: StatusCode, error: &str, message: &str) -> Answer {
    json(status, serde_json::json!({"error": error, "message": message}).to_string().into())
}

fn refused(invalid: &Invalid) -> Answer {
    failed(StatusCode::BAD_REQUEST, "Invalid call", &invalid.to_string())
}

/// An answer with this JSON, and with the headers that every answer of the program has.
#[must_use]
pub fn json(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Location, Retry-After, X-Request-Id"),
    );
    if let Ok(request_id) = HeaderValue::try_from(Uuid::now_v7().to_string()) {
        headers.insert(HeaderName::from_static("x-request-id"), request_id);
    }
    answer
}

/// Prints its address as the program does, and answers every request with `answer` until it is killed.
///
/// It is generic because each yardstick's future has a type of its own, which a function pointer cannot name.
///
/// # Errors
/// When it cannot listen or accept.
pub async fn serve<A, F>(answer: A) -> io::Result<()>
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    #[expect(clippy::print_stdout, reason = "the benchmark reads the port from it")]
    {
        println!("listening public http://{}", listener.local_addr()?);
    }
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answered = answer(request);
                async move { Ok::<_, std::convert::Infallible>(answered.await) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            // A connection that breaks off belongs to a load generator, which counts it.
            http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}
