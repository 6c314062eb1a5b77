//! The type of every answer, its deadline, and how answers are made.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;

/// An answer: small, and complete before it is sent.
pub(crate) type Answer = Response<Full<Bytes>>;

/// A caller is answered within this time, whatever the database does; 5 s are promised.
pub(crate) const DEADLINE: Duration = Duration::from_millis(4500);

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer with a body.
pub(crate) fn with_body(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// An answer with a JSON body.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_body(status, JSON, body)
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

/// The same answer to a `HEAD` request: without its body, but with its length (RFC 9110, section 9.3.2).
pub(crate) fn without_body(mut answer: Answer) -> Answer {
    use hyper::body::Body as _;
    if let Some(bytes) = answer.body().size_hint().exact() {
        answer.headers_mut().insert(CONTENT_LENGTH, bytes.into());
    }
    *answer.body_mut() = Full::default();
    answer
}
