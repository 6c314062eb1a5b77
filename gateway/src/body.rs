//! Reads a request's body, within a size, a time, and the memory that all bodies share.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use callvine_shared::call::Invalid;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::rejection::Rejection;

/// A body that stops arriving for this long is given up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// A body is given up after this long even while it arrives: 64 KiB in this time is slower than any modem, so its client
/// only wants to hold the connection.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of bodies that have begun to arrive and are not complete, over all connections; their buffers may be twice as
/// large. A body that arrives in one piece, as most do, needs none of them.
const INCOMPLETE_MAX_BYTES: usize = 32 * 1024 * 1024;

/// Bodies of the largest size that may be incomplete at once, where that size is set so high that they would not fit.
const INCOMPLETE_MIN_BODIES: usize = 16;

/// The memory for bodies that have begun to arrive. A request that finds none left is refused.
#[derive(Debug)]
pub(crate) struct Budget(Semaphore);

impl Budget {
    /// Enough for some bodies of `max_body_bytes`.
    pub(crate) fn new(max_body_bytes: usize) -> Self {
        let bytes = INCOMPLETE_MAX_BYTES.max(max_body_bytes.saturating_mul(INCOMPLETE_MIN_BODIES));
        Self(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)))
    }

    fn take(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Rejection> {
        let bytes = u32::try_from(bytes).map_err(|_too_many| Rejection::Overloaded)?;
        self.0.try_acquire_many(bytes).map_err(|_none_left| Rejection::Overloaded)
    }
}

/// The whole body, of at most `max_bytes`. Nothing beyond that is read.
pub(crate) async fn read(body: &mut Incoming, max_bytes: usize, budget: &Budget) -> Result<Bytes, Rejection> {
    let too_large = || Rejection::TooLarge { max_bytes };
    // The announced length; zero without one.
    if body.size_hint().lower() > u64::try_from(max_bytes).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    let deadline = Instant::now() + TOTAL_TIMEOUT;
    let Some(first) = next_data(body, deadline).await? else { return Ok(Bytes::new()) };
    if first.len() > max_bytes {
        return Err(too_large());
    }
    // Most bodies arrive in one piece, which need not be copied.
    if body.is_end_stream() {
        return Ok(first);
    }
    let mut taken = budget.take(first.len())?;
    // Copied, since the piece may pin a buffer that is much larger than itself.
    let mut whole = BytesMut::from(&*first);
    drop(first);
    while let Some(data) = next_data(body, deadline).await? {
        if whole.len() + data.len() > max_bytes {
            return Err(too_large());
        }
        taken.merge(budget.take(data.len())?);
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
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
