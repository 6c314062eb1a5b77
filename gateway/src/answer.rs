//! The type of every answer, its deadline, and how answers are made.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Body;

/// An answer.
pub(crate) type Answer = Response<Content>;

/// The body of an answer: small, and complete before it is sent; or a recording, read while it is sent.
pub(crate) type Content = Either<Full<Bytes>, UnsyncBoxBody<Bytes, io::Error>>;

/// A caller is answered within this time, whatever the database does; 5 s are promised.
pub(crate) const DEADLINE: Duration = Duration::from_millis(4500);

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer with a body.
pub(crate) fn with_body(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(body.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// An answer with a JSON body.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_body(status, JSON, body)
}

/// An answer whose body is read while it is sent.
pub(crate) fn streamed<B>(status: StatusCode, body: B) -> Answer
where
    B: Body<Data = Bytes, Error = io::Error> + Send + 'static,
{
    let mut answer = Response::new(Either::Right(body.boxed_unsync()));
    *answer.status_mut() = status;
    answer
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Either::Left(Full::default()));
    *answer.status_mut() = status;
    answer
}

/// The same answer to a `HEAD` request: without its body, but with its length (RFC 9110, section 9.3.2).
pub(crate) fn without_body(mut answer: Answer) -> Answer {
    // One that was made without its body says its length itself.
    if let (false, Some(bytes)) =
        (answer.headers().contains_key(CONTENT_LENGTH), answer.body().size_hint().exact())
    {
        answer.headers_mut().insert(CONTENT_LENGTH, bytes.into());
    }
    *answer.body_mut() = Either::Left(Full::default());
    answer
}
