//! `GET /calls/ID/recording`: the bytes of a stored recording, or a part of them.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use callvine_shared::error_chain::Chain;
use callvine_shared::objects::{Objects, ObjectsError};
use callvine_shared::store::{CallRecord, RecordingState};
use futures_util::TryStreamExt as _;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, IF_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, StatusCode};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::error;

use crate::answer::{self, Answer};
use crate::byte_range::{self, Requested};
use crate::rejection::Rejection;
use crate::{Gateway, calls};

/// Most recordings that are being sent at once. Each holds an open file, or a connection to the store of objects, and 64 KiB.
const SENDING_MAX: usize = 256;

/// The recordings, as far as they can be sent from here.
#[derive(Debug)]
pub(crate) struct Sender {
    objects: Objects,
    permits: Arc<Semaphore>,
}

impl Sender {
    pub(crate) fn new(objects: Objects) -> Self {
        Self { objects, permits: Arc::new(Semaphore::new(SENDING_MAX)) }
    }
}

/// Sends the recording of a call. `id` is the text of a path segment.
pub(crate) async fn send(
    gateway: &Gateway,
    request: &Request<Incoming>,
    id: &str,
) -> Result<Answer, Rejection> {
    let record = calls::find(gateway, request.headers(), id).await?;
    let stored = Stored::of(&record).ok_or(Rejection::NoRecording)?;
    let headers = request.headers();
    if matches(headers, &IF_NONE_MATCH, &stored.etag) {
        return Ok(stored.describe(answer::empty(StatusCode::NOT_MODIFIED)));
    }
    let is_same = !headers.contains_key(IF_RANGE) || matches(headers, &IF_RANGE, &stored.etag);
    let range = headers.get(RANGE).filter(|_| is_same).map(HeaderValue::as_bytes);
    let (status, range) = match byte_range::requested(range, stored.size_bytes) {
        Requested::Whole => (StatusCode::OK, 0..stored.size_bytes),
        Requested::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Requested::Unsatisfiable => return Ok(unsatisfiable(&stored)),
    };
    let is_head = request.method() == Method::HEAD;
    let mut answer = if is_head {
        answer::empty(status)
    } else {
        body(gateway.recordings.as_ref(), &record, status, range.clone()).await?
    };
    if status == StatusCode::PARTIAL_CONTENT {
        let text = format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), stored.size_bytes);
        insert(&mut answer, CONTENT_RANGE, &text);
    }
    answer.headers_mut().insert(CONTENT_LENGTH, (range.end - range.start).into());
    Ok(stored.describe(answer))
}

/// The facts of a stored recording that headers tell.
struct Stored {
    call_id: i64,
    size_bytes: u64,
    media_type: String,
    /// A strong one: the content's hash.
    etag: String,
}

impl Stored {
    fn of(record: &CallRecord) -> Option<Self> {
        let RecordingState { location, size_bytes, media_type, sha256, .. } = &record.recording;
        location.as_ref()?;
        Some(Self {
            call_id: record.call.id.0,
            size_bytes: size_bytes.and_then(|bytes| u64::try_from(bytes).ok())?,
            media_type: media_type.clone()?,
            etag: format!("\"{}\"", sha256.as_deref()?),
        })
    }

    /// Adds the headers that every answer about the recording has.
    fn describe(&self, mut answer: Answer) -> Answer {
        insert(&mut answer, CONTENT_TYPE, &self.media_type);
        insert(&mut answer, ETAG, &self.etag);
        insert(&mut answer, CONTENT_DISPOSITION, &format!("inline; filename=\"call-{}\"", self.call_id));
        let headers = answer.headers_mut();
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        // For this caller alone, who asks again whether it is still there.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        // A stranger's bytes are never taken for a page.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        answer
    }
}

fn insert(answer: &mut Answer, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        answer.headers_mut().insert(name, value);
    }
}

/// Whether one of the header's tags is this one, or any will do.
fn matches(headers: &HeaderMap, name: &HeaderName, etag: &str) -> bool {
    let tags = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    tags.flat_map(|value| value.split(',')).map(str::trim).any(|tag| tag == etag || tag == "*")
}

fn unsatisfiable(stored: &Stored) -> Answer {
    let mut answer = Rejection::Range.into_answer();
    insert(&mut answer, CONTENT_RANGE, &format!("bytes */{}", stored.size_bytes));
    answer
}

async fn body(
    sender: Option<&Sender>,
    record: &CallRecord,
    status: StatusCode,
    range: Range<u64>,
) -> Result<Answer, Rejection> {
    let sender = sender.ok_or(Rejection::RecordingElsewhere)?;
    let permit =
        Arc::clone(&sender.permits).try_acquire_owned().map_err(|_none_left| Rejection::TooManyReaders)?;
    let location = record.recording.location.as_deref().unwrap_or_default();
    let pieces = match timeout(answer::DEADLINE, sender.objects.read(location, range)).await {
        Ok(Ok(pieces)) => pieces,
        Ok(Err(error)) => return Err(not_read(record, &error)),
        Err(_elapsed) => return Err(Rejection::RecordingNotRead),
    };
    let frames = pieces.map_ok(move |piece| {
        // The permit goes with the stream.
        let _held = &permit;
        Frame::data(piece)
    });
    Ok(answer::streamed(status, StreamBody::new(frames.map_err(io::Error::other))))
}

fn not_read(record: &CallRecord, error: &ObjectsError) -> Rejection {
    let id = record.call.id;
    error!(call.id = id.0, "the recording of call {id} can't be read: {}", Chain(error));
    Rejection::RecordingNotRead
}
