//! The requests of one connection, as its service counts them. Its deadlines depend on them, and so does whether it may
//! be closed to make room for another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use http::Version;
use tokio::time::Instant;

/// The requests of one connection. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Requests(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    begun: AtomicU32,
    ended: AtomicU32,
    is_http2: AtomicBool,
    is_last: AtomicBool,
    /// Since when nothing has been under way, half-read or half-sent; 0: something is.
    idle_since: Moment,
    /// HTTP/2 answers for which the client has not yet made room.
    unsent: AtomicU32,
    /// When one of them was last taken or, if later, when the first of them was made.
    unsent_since: Moment,
    /// Wakes the connection when none is left: it may be idle then.
    sent: AtomicWaker,
    listener: Arc<Listener>,
}

/// What all connections of a listener count together.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Moments are counted from here.
    epoch: Instant,
    /// HTTP/2 answers for which their clients have not yet made room.
    unsent: AtomicUsize,
}

impl Default for Listener {
    fn default() -> Self {
        Self { epoch: Instant::now(), unsent: AtomicUsize::new(0) }
    }
}

impl Listener {
    fn now(&self) -> u64 {
        // Never 0, which means "not".
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// HTTP/2 answers that wait for their clients, over all connections.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.load(Ordering::Relaxed)
    }
}

/// Microseconds since the listener's epoch, from 1; 0: not.
#[derive(Debug)]
struct Moment(AtomicU64);

impl Moment {
    fn get(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|micros| *micros > 0)
    }

    fn set(&self, micros: u64) {
        self.0.store(micros, Ordering::Relaxed);
    }

    fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Requests {
    /// Those of a new connection, which is idle.
    pub(crate) fn new(listener: Arc<Listener>) -> Self {
        let idle_since = Moment(AtomicU64::new(listener.now()));
        Self(Arc::new(Shared {
            begun: AtomicU32::new(0),
            ended: AtomicU32::new(0),
            is_http2: AtomicBool::new(false),
            is_last: AtomicBool::new(false),
            idle_since,
            unsent: AtomicU32::new(0),
            unsent_since: Moment(AtomicU64::new(0)),
            sent: AtomicWaker::new(),
            listener,
        }))
    }

    /// Notes that a request's head has arrived. The request is under way until the guard is dropped.
    pub(crate) fn begin(&self, version: Version) -> RequestUnderWay {
        if version == Version::HTTP_2 {
            self.0.is_http2.store(true, Ordering::Relaxed);
            self.0.idle_since.clear();
        }
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        RequestUnderWay { requests: self.clone(), waits_for_client: false }
    }

    /// How many have begun, if all of them have ended.
    pub(crate) fn begun_if_all_ended(&self) -> Option<u32> {
        let ended = self.0.ended.load(Ordering::Acquire);
        let begun = self.0.begun.load(Ordering::Relaxed);
        (begun == ended).then_some(begun)
    }

    /// Lets the request that is under way, or else the next one, be the last.
    pub(crate) fn end(&self) {
        self.0.is_last.store(true, Ordering::Relaxed);
    }

    /// Whether the client must be told to send its next request elsewhere.
    pub(crate) fn are_ending(&self) -> bool {
        self.0.is_last.load(Ordering::Relaxed)
    }

    /// Whether a request has come over HTTP/2.
    pub(crate) fn are_http2(&self) -> bool {
        self.0.is_http2.load(Ordering::Relaxed)
    }

    /// Notes that nothing is under way, half-read or half-sent. Later calls change nothing until [`Self::note_busy`].
    pub(crate) fn note_idle(&self) {
        if self.0.idle_since.get().is_none() {
            self.0.idle_since.set(self.0.listener.now());
        }
    }

    /// Notes that something is.
    pub(crate) fn note_busy(&self) {
        self.0.idle_since.clear();
    }

    /// Since when the connection has been idle; `None`: it is not. Comparable among the connections of a listener.
    pub(crate) fn idle_since(&self) -> Option<u64> {
        self.0.idle_since.get()
    }

    /// Since when the client has taken no answer of those that wait for it; `None`: none waits.
    pub(crate) fn unsent_since(&self) -> Option<u64> {
        if self.0.unsent.load(Ordering::Relaxed) == 0 { None } else { self.0.unsent_since.get() }
    }

    /// Lets this task be woken when the client has taken every answer.
    pub(crate) fn wake_when_sent(&self, waker: &Waker) {
        self.0.sent.register(waker);
    }

    /// The same, as a time.
    pub(crate) fn unsent_since_instant(&self) -> Option<Instant> {
        self.unsent_since().map(|micros| self.0.listener.epoch + Duration::from_micros(micros))
    }
}

/// A request that is being answered. It ends when the guard is dropped: on HTTP/2 only after the client has made room
/// for the answer, since until then the answer is held in memory.
#[derive(Debug)]
pub(crate) struct RequestUnderWay {
    requests: Requests,
    waits_for_client: bool,
}

impl RequestUnderWay {
    /// Notes that the answer is made. On HTTP/2 it waits for the client from here on.
    pub(crate) fn answered(&mut self) {
        let shared = &self.requests.0;
        if !self.waits_for_client && shared.is_http2.load(Ordering::Relaxed) {
            self.waits_for_client = true;
            if shared.unsent.fetch_add(1, Ordering::Relaxed) == 0 {
                shared.unsent_since.set(shared.listener.now());
            }
            shared.listener.unsent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for RequestUnderWay {
    fn drop(&mut self) {
        let shared = &self.requests.0;
        shared.ended.fetch_add(1, Ordering::Release);
        if self.waits_for_client {
            shared.listener.unsent.fetch_sub(1, Ordering::Relaxed);
            shared.unsent_since.set(shared.listener.now());
            if shared.unsent.fetch_sub(1, Ordering::Relaxed) == 1 {
                shared.sent.wake();
            }
        }
    }
}
