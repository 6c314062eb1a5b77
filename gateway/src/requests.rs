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
    is_written_off: AtomicBool,
    /// Since when nothing has been under way, half-read or half-sent; 0: something is.
    idle_since: Moment,
    /// HTTP/2 answers for which the client has not yet made room.
    unsent: AtomicU32,
    /// When one of them was last taken or, if later, when the first of them was made.
    unsent_since: Moment,
    /// Wakes the connection when none is left, or a request was taken back: it may be idle then.
    sent: AtomicWaker,
    listener: Arc<Listener>,
}

/// Most HTTP/2 requests whose handlers have not begun to run, over all connections; meanwhile no connection is read. Each
/// begins to run as soon as a thread is free, but holds about 5 KiB until then, and what a thousand clients have sent would
/// otherwise all be spread out in memory before the first is answered.
const UNSTARTED_MAX: usize = 512;

/// The counts of all connections of a listener together.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Moments are counted from here.
    epoch: Instant,
    /// HTTP/2 answers for which their clients have not yet made room.
    unsent: AtomicUsize,
    /// HTTP/2 requests whose handlers have not begun to run.
    unstarted: AtomicUsize,
}

impl Default for Listener {
    fn default() -> Self {
        Self { epoch: Instant::now(), unsent: AtomicUsize::new(0), unstarted: AtomicUsize::new(0) }
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
            is_written_off: AtomicBool::new(false),
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
            self.0.listener.unstarted.fetch_add(1, Ordering::Relaxed);
        }
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        RequestUnderWay { requests: self.clone(), is_http2: version == Version::HTTP_2, step: Step::Begun }
    }

    /// Whether requests of this listener must get their turn before more is read.
    pub(crate) fn must_give_way(&self) -> bool {
        self.0.listener.unstarted.load(Ordering::Relaxed) > UNSTARTED_MAX
    }

    /// No longer counts the answers that wait for the client: the connection is about to be closed.
    pub(crate) fn write_off_unsent(&self) {
        self.0.is_written_off.store(true, Ordering::Relaxed);
        let unsent = self.0.unsent.swap(0, Ordering::Relaxed);
        self.0.listener.unsent.fetch_sub(usize::try_from(unsent).unwrap_or(0), Ordering::Relaxed);
    }

    /// How many have begun, if all of them have ended.
    pub(crate) fn begun_if_all_ended(&self) -> Option<u32> {
        let ended = self.0.ended.load(Ordering::Acquire);
        let begun = self.0.begun.load(Ordering::Relaxed);
        (begun == ended).then_some(begun)
    }

    /// Whether the connection is to be closed because its client takes no answers.
    pub(crate) fn are_written_off(&self) -> bool {
        self.0.is_written_off.load(Ordering::Relaxed)
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
    is_http2: bool,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Begun,
    Started,
    Answered,
}

impl RequestUnderWay {
    /// Notes that its handler runs.
    pub(crate) fn started(&mut self) {
        if self.is_http2 && self.step == Step::Begun {
            self.requests.0.listener.unstarted.fetch_sub(1, Ordering::Relaxed);
        }
        self.step = Step::Started;
    }

    /// Notes that the answer is made. On HTTP/2 it waits for the client from here on.
    pub(crate) fn answered(&mut self) {
        if self.is_http2 {
            let shared = &self.requests.0;
            if shared.unsent.fetch_add(1, Ordering::Relaxed) == 0 {
                shared.unsent_since.set(shared.listener.now());
            }
            shared.listener.unsent.fetch_add(1, Ordering::Relaxed);
        }
        self.step = Step::Answered;
    }

    fn sent(&self) {
        let shared = &self.requests.0;
        shared.unsent_since.set(shared.listener.now());
        let counted =
            shared.unsent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |unsent| unsent.checked_sub(1));
        // Otherwise it was written off.
        if let Ok(before) = counted {
            shared.listener.unsent.fetch_sub(1, Ordering::Relaxed);
            if before == 1 {
                shared.sent.wake();
            }
        }
    }
}

impl Drop for RequestUnderWay {
    fn drop(&mut self) {
        self.requests.0.ended.fetch_add(1, Ordering::Release);
        if !self.is_http2 {
            return;
        }
        match self.step {
            Step::Answered => self.sent(),
            // The client has taken its request back. Its connection may be idle now.
            Step::Begun | Step::Started => {
                self.started();
                self.requests.0.sent.wake();
            }
        }
    }
}
