//! The work on one recording, as those who wait for its permits see it: whose it is, and how fast its bytes arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A transfer below this rate, in bytes a second, is slow: four times the rate at which telephony audio is spoken. While
/// recordings of others wait for its permit, it may be ended.
const SLOW_BYTES_PER_SECOND: u64 = 32 * 1024;

/// The shortest time over which a rate is judged, and how long a transfer is left alone at its start: it has to connect
/// and to wait for an answer.
const RATE_OVER: Duration = Duration::from_secs(3);

/// The work on one recording, shared by all its permits.
#[derive(Debug)]
pub(super) struct Work {
    client: String,
    received_bytes: AtomicU64,
    /// Since when the rate is measured; none while nothing is being transferred.
    window: Mutex<Option<Window>>,
    ended: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    received_bytes: u64,
}

/// A transfer under way; it is over when this is dropped.
#[derive(Debug)]
pub(super) struct Transferring<'a>(&'a Work);

impl Work {
    /// Work for this client.
    pub(super) fn new(client: &str) -> Arc<Self> {
        Arc::new(Self {
            client: client.to_owned(),
            received_bytes: AtomicU64::new(0),
            window: Mutex::new(None),
            ended: CancellationToken::new(),
        })
    }

    /// The client whose recording it is.
    pub(super) fn client(&self) -> &str {
        &self.client
    }

    /// A transfer begins. Only while it lasts the work can be ended.
    pub(super) fn transfer(&self) -> Transferring<'_> {
        let received_bytes = self.received_bytes.load(Ordering::Relaxed);
        *self.window.lock() = Some(Window { since: Instant::now(), received_bytes });
        Transferring(self)
    }

    /// So many bytes have arrived.
    pub(super) fn received(&self, bytes: u64) {
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns when the transfer has to end for others who wait. Cancel-safe.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Whether it was ended.
    pub(super) fn is_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Ends the transfer.
    pub(super) fn end(&self) {
        self.ended.cancel();
    }

    /// The rate since the last look, in bytes a second, where it is slow: `None` where it isn't, or can't be judged yet.
    pub(super) fn slow_rate(&self, now: Instant) -> Option<u64> {
        let mut window = self.window.lock();
        let Window { since, received_bytes } = (*window)?;
        let elapsed = now.duration_since(since);
        if elapsed < RATE_OVER || self.is_ended() {
            return None;
        }
        let received = self.received_bytes.load(Ordering::Relaxed);
        *window = Some(Window { since: now, received_bytes: received });
        let bytes = u128::from(received.saturating_sub(received_bytes));
        let rate = u64::try_from(bytes * 1000 / elapsed.as_millis().max(1)).unwrap_or(u64::MAX);
        (rate < SLOW_BYTES_PER_SECOND).then_some(rate)
    }
}

impl Drop for Transferring<'_> {
    fn drop(&mut self) {
        *self.0.window.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_judged_over_a_while_and_anew_after_each_look() {
        let work = Work::new("acme");
        tokio::time::advance(RATE_OVER).await;
        assert_eq!(work.slow_rate(Instant::now()), None, "nothing is being transferred");
        let transfer = work.transfer();
        assert_eq!(work.slow_rate(Instant::now()), None, "it has just begun");
        work.received(3_000);
        tokio::time::advance(RATE_OVER).await;
        assert_eq!(work.slow_rate(Instant::now()), Some(1_000));
        work.received(SLOW_BYTES_PER_SECOND * RATE_OVER.as_secs());
        tokio::time::advance(RATE_OVER).await;
        assert_eq!(work.slow_rate(Instant::now()), None, "it is fast");
        tokio::time::advance(RATE_OVER).await;
        assert_eq!(work.slow_rate(Instant::now()), Some(0), "it has been fast before");
        drop(transfer);
        tokio::time::advance(RATE_OVER).await;
        assert_eq!(work.slow_rate(Instant::now()), None, "it is proved by now");
    }
}
