//! `GET /openapi.json`: the description of both listeners, for programs. `docs/openapi.yaml` is its source.

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};

use crate::answer::{self, Answer};

/// Made from `docs/openapi.yaml` by `tests/openapi/to_json.py`; a test compares the two.
const DOCUMENT: &str = include_str!("../../docs/openapi.json");

/// A new version of the program may bring a new description, which readers then see within minutes.
const CACHED: HeaderValue = HeaderValue::from_static("max-age=300");

/// The description, without a key: it holds nothing of any client.
pub(crate) fn show() -> Answer {
    let mut answer = answer::json(StatusCode::OK, DOCUMENT);
    answer.headers_mut().insert(CACHE_CONTROL, CACHED);
    answer
}
