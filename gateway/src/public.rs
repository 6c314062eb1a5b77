//! The public listener: finds the endpoint of a request, and adds the headers that every answer has.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures_util::FutureExt as _;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CONNECTION, HeaderMap, HeaderName,
    HeaderValue,
};
use http::{Method, Request, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};
use tracing::{debug, error};
use uuid::Uuid;

use crate::answer::{self, Answer};
use crate::rejection::{Methods, Rejection};
use crate::{Gateway, analyses, calls, host, metrics, openapi, recording, webhook};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest `X-Request-Id` that is accepted from a caller.
const REQUEST_ID_MAX_BYTES: usize = 128;

/// Longest unread body after which the connection stays open: it has usually arrived with its head, and is skipped. After
/// a longer one the connection ends, and the answer says so; the client would otherwise send its next request into a
/// closing connection.
const DRAINED_BODY_MAX_BYTES: u64 = 4096;

/// Any web page may call, with a key that its user gives it.
const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("Location, Retry-After, X-Request-Id");
const ALLOWED_HEADERS: HeaderValue =
    HeaderValue::from_static("Content-Type, X-API-Key, Authorization, Idempotency-Key, X-Request-Id");

/// Seconds for which a browser remembers a preflight's answer: a day. Browsers cap it at two hours or less.
const PREFLIGHT_MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// Answers a request, whatever happens.
pub(crate) async fn answer(gateway: &Gateway, mut request: Request<Incoming>, peer: IpAddr) -> Answer {
    let begun = Instant::now();
    let request_id = request_id(request.headers());
    let endpoint = Endpoint::of(request.uri()).map_or("other", |endpoint| endpoint.name());
    let is_head = request.method() == Method::HEAD;
    let closes_if_unread = request.version() < Version::HTTP_2
        && request.body().size_hint().exact().is_none_or(|bytes| bytes > DRAINED_BODY_MAX_BYTES);

    let answered = recover(endpoint, route(gateway, &mut request)).await;
    let closes = closes_if_unread && answered.as_ref().is_err_and(Rejection::leaves_body_unread);
    let mut answer = answered.unwrap_or_else(|rejection| {
        let client = gateway.proxies.client(peer, request.headers());
        debug!(request.id = ?request_id, client.address = %client, "{endpoint} answers {}: {rejection}", rejection.status());
        rejection.into_answer()
    });
    if is_head {
        answer = answer::without_body(answer);
    }
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    headers.insert(REQUEST_ID, request_id);
    if closes {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    gateway.metrics.answered(endpoint, answer.status(), begun.elapsed());
    answer
}

/// The endpoint at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint<'a> {
    Webhook,
    Call { id: &'a str },
    Recording { id: &'a str },
    Analysis { id: &'a str, analyzer: &'a str },
    Openapi,
}

impl<'a> Endpoint<'a> {
    fn of(uri: &'a Uri) -> Option<Self> {
        let path = uri.path();
        match path.strip_suffix('/').unwrap_or(path) {
            "/webhook.php" | "/webhook" => Some(Self::Webhook),
            "/recording.php" => Some(Self::Call { id: call_id(uri.query().unwrap_or_default()) }),
            "/openapi.json" => Some(Self::Openapi),
            path => {
                let id = path.strip_prefix("/calls/")?;
                match id.split_once('/') {
                    None => Some(Self::Call { id }),
                    Some((id, "recording")) => Some(Self::Recording { id }),
                    Some((id, rest)) => match rest.strip_prefix("analyses/") {
                        Some(analyzer) if !analyzer.contains('/') => Some(Self::Analysis { id, analyzer }),
                        _ => None,
                    },
                }
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Webhook => metrics::WEBHOOK,
            Self::Call { .. } => "call",
            Self::Recording { .. } => "recording",
            Self::Analysis { .. } => "analysis",
            Self::Openapi => "openapi",
        }
    }

    fn methods(self) -> Methods {
        match self {
            Self::Webhook => Methods::Post,
            Self::Call { .. } | Self::Recording { .. } | Self::Openapi => Methods::Get,
            Self::Analysis { .. } => Methods::Put,
        }
    }
}

/// The last `call_id` of a query string. Without one it is empty, which no call has as its id. Digits need no decoding.
fn call_id(query: &str) -> &str {
    query.split('&').rev().find_map(|pair| pair.strip_prefix("call_id=")).unwrap_or_default()
}

async fn route(gateway: &Gateway, request: &mut Request<Incoming>) -> Result<Answer, Rejection> {
    host::check(request)?;
    let endpoint = Endpoint::of(request.uri()).ok_or(Rejection::NotFound)?;
    let methods = endpoint.methods();
    if request.method() == Method::OPTIONS {
        return Ok(preflight(methods));
    }
    if !methods.include(request.method()) {
        return Err(Rejection::Method(methods));
    }
    match endpoint {
        Endpoint::Webhook => webhook::receive(gateway, request).await,
        Endpoint::Call { id } => calls::show(gateway, request, id).await,
        // These two are boxed, since they are larger and rarer than a post.
        Endpoint::Recording { id } => Box::pin(recording::send(gateway, request, id)).await,
        Endpoint::Analysis { id, analyzer } => {
            // The path is of the request, whose body is read meanwhile.
            let (id, analyzer) = (id.to_owned(), analyzer.to_owned());
            Box::pin(analyses::put(gateway, request, &id, &analyzer)).await
        }
        Endpoint::Openapi => Ok(openapi::show()),
    }
}

/// Answers a browser that asks before it sends a request that no form could send. It has sent no key yet.
fn preflight(methods: Methods) -> Answer {
    let mut answer = answer::empty(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    headers.insert(ALLOW, methods.allow());
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.allow());
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE);
    answer
}

/// Turns a panic into an answer. A panic is a bug, but it must not break a connection that other requests use too.
async fn recover(
    endpoint: &'static str,
    answering: impl Future<Output = Result<Answer, Rejection>>,
) -> Result<Answer, Rejection> {
    // Requests share only locks and atomics, which stay usable after a panic.
    AssertUnwindSafe(answering).catch_unwind().await.unwrap_or_else(|_panic| {
        error!("answering a request to {endpoint} panicked: this is a bug");
        Err(Rejection::Internal)
    })
}

/// The caller's own request id, or a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(REQUEST_ID).filter(|value| is_request_id(value.as_bytes()));
    given.cloned().unwrap_or_else(|| {
        let mut text = Uuid::encode_buffer();
        // An id need not be secret, so it is not worth a system call for the system's own randomness.
        let made = uuid::Builder::from_random_bytes(fastrand::u128(..).to_ne_bytes()).into_uuid();
        let text = made.hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-"))
    })
}

fn is_request_id(value: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    (1..=REQUEST_ID_MAX_BYTES).contains(&value.len()) && value.iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_exact_but_for_a_trailing_slash_and_the_query() {
        let uri = |text: &'static str| Uri::from_static(text);
        for path in
            ["/webhook.php", "/webhook", "/webhook.php/", "/webhook/", "/webhook.php?x=/y", "/webhook/?"]
        {
            assert_eq!(Endpoint::of(&uri(path)), Some(Endpoint::Webhook), "{path}");
        }
        for path in
            ["/calls/7", "/calls/7/", "/recording.php?call_id=7", "/recording.php/?x&call_id=1&call_id=7"]
        {
            assert_eq!(Endpoint::of(&uri(path)), Some(Endpoint::Call { id: "7" }), "{path}");
        }
        for path in [
            "/",
            "/webhook.php//",
            "//webhook",
            "/Webhook",
            "/webhook.phpx",
            "/calls",
            "/calls/",
            "/calls/7/x",
        ] {
            assert_eq!(Endpoint::of(&uri(path)), None, "{path}");
        }
        assert_eq!(Endpoint::of(&uri("/openapi.json/?x")), Some(Endpoint::Openapi));
        assert_eq!(Endpoint::of(&uri("/recording.php")), Some(Endpoint::Call { id: "" }));
    }

    #[test]
    fn request_ids_are_taken_over_or_made() {
        let id = |given: &'static str| {
            let headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(given))]);
            request_id(&headers).to_str().unwrap().to_owned()
        };
        assert_eq!(id("a.B_c-9"), "a.B_c-9");
        for refused in ["", "a b", "a/b", "\"x\"", "a,b"] {
            assert_eq!(Uuid::parse_str(&id(refused)).unwrap().get_version_num(), 4, "{refused}");
        }
        assert!(is_request_id(&[b'x'; 128]) && !is_request_id(&[b'x'; 129]));
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error() {
        let panicking = async { panic!("a bug") };
        assert_eq!(recover("webhook", panicking).await.unwrap_err(), Rejection::Internal);
    }
}
