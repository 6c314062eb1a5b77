//! Reads a request's body, within a size and a time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use callvine_shared::call::Invalid;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::rejection::Rejection;

/// A body that stops arriving for this long is given up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// A body is given up after this long even while it arrives: 64 KiB in this time is slower than any modem, so its client
/// only wants to hold the connection.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);

/// The whole body, of at most `max_bytes`. Nothing beyond that is read.
pub(crate) async fn read(body: &mut Incoming, max_bytes: usize) -> Result<Bytes, Rejection> {
    let too_large = || Rejection::TooLarge { max_bytes };
    // The announced length; zero without one.
    if body.size_hint().lower() > u64::try_from(max_bytes).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    let deadline = Instant::now() + TOTAL_TIMEOUT;
    let mut whole = Bytes::new();
    while let Some(data) = next_data(body, deadline).await? {
        if whole.len() + data.len() > max_bytes {
            return Err(too_large());
        }
        // Most bodies arrive in one piece, which need not be copied.
        whole = if whole.is_empty() { data } else { joined(whole, &data) };
    }
    Ok(whole)
}

async fn next_data(body: &mut Incoming, deadline: Instant) -> Result<Option<Bytes>, Rejection> {
    loop {
        let next_deadline = deadline.min(Instant::now() + IDLE_TIMEOUT);
        match timeout_at(next_deadline, body.frame()).await {
            // Trailers are skipped.
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(_trailers) => {}
            },
            // The framing is broken or the client has left: the JSON will never be complete.
            Ok(Some(Err(_broken))) => return Err(Invalid::Json.into()),
            Ok(None) => return Ok(None),
            Err(_elapsed) => return Err(Rejection::BodyTimeout),
        }
    }
}

fn joined(first: Bytes, second: &[u8]) -> Bytes {
    let mut both = BytesMut::from(first);
    both.extend_from_slice(second);
    both.freeze()
}
