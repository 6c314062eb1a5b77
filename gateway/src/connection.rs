//! A TCP connection with deadlines. It drops a client that is silent, drips or does not read, and lets a client that is
//! still sending read its answer.
//!
//! hyper has no deadline while it tells HTTP/1.1 from HTTP/2, and the same one for an idle connection and a slow head.
//! Here these have deadlines of their own. A request sets no timer: the connection's timer moves only when it fires.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::requests::Requests;
use crate::stream::Stream;

/// Time for a request's head, from its first byte; for the first request, from the connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// An idle connection is closed after this long. The pools of common clients keep theirs for 60 s or less, so the client
/// closes first, and no request meets a closing connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// A client that takes no byte of its answer for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the client's bytes are discarded after the last answer. Closing with bytes unread would reset the connection,
/// and the client would lose the answer.
const LINGER_TIMEOUT: Duration = Duration::from_secs(3);

/// Most bytes that are discarded in that time, so that no client keeps a closing connection busy.
const LINGER_MAX_BYTES: usize = 16 * 1024 * 1024;

/// Bytes that are discarded at a time.
const LINGER_BUFFER_BYTES: usize = 16 * 1024;

/// A TCP connection with deadlines.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    requests: Requests,
    /// Requests that had begun when the wait for the next one began.
    waiting_since_request: u32,
    /// Whether the wait is for the rest of a head: some of it has arrived, or the connection is new.
    head_begun: bool,
    /// When that head must be complete or, on an idle connection, must have begun.
    read_deadline: Instant,
    read_timer: Pin<Box<Sleep>>,
    /// Runs while the client takes nothing.
    write_timer: Option<Pin<Box<Sleep>>>,
    client_finished: bool,
    /// Whether bytes have arrived since the last request ended: some of a head, or of a body that was left unread.
    bytes_since_request: bool,
    /// Whether the last read found nothing. Unless a body was left unread, the client is then not within a request.
    has_nothing_to_read: bool,
    linger: Option<Linger>,
}

#[derive(Debug)]
struct Linger {
    timer: Pin<Box<Sleep>>,
    bytes: usize,
}

impl Connection {
    pub(crate) fn new(stream: Stream, requests: Requests) -> Self {
        let read_deadline = Instant::now() + HEAD_TIMEOUT;
        Self {
            stream,
            requests,
            waiting_since_request: 0,
            head_begun: true,
            read_deadline,
            read_timer: Box::pin(sleep_until(read_deadline)),
            write_timer: None,
            client_finished: false,
            bytes_since_request: false,
            has_nothing_to_read: true,
            linger: None,
        }
    }

    /// Whether a request is under way. If none is, the wait for the next one begins.
    fn is_busy(&mut self) -> bool {
        let Some(begun) = self.requests.begun_if_all_ended() else { return true };
        if self.waiting_since_request != begun {
            self.waiting_since_request = begun;
            self.head_begun = false;
            self.bytes_since_request = false;
            self.read_deadline = Instant::now() + IDLE_TIMEOUT;
        }
        false
    }

    /// Notes that bytes have arrived. On HTTP/2 they may belong to no request, so an idle connection stays idle there.
    fn note_bytes(&mut self) {
        self.has_nothing_to_read = false;
        if self.requests.are_http2() {
            return;
        }
        self.requests.note_busy();
        if self.is_busy() {
            return;
        }
        self.bytes_since_request = true;
        if !self.head_begun {
            self.head_begun = true;
            self.read_deadline = Instant::now() + HEAD_TIMEOUT;
        }
    }

    /// Ready when the client has missed its deadline. While a request is under way, its handler has the deadlines, until
    /// the answer waits for the client.
    fn poll_read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.requests.are_http2() {
            self.requests.wake_when_sent(cx.waker());
        }
        let deadline = if self.is_busy() {
            match self.requests.unsent_since_instant() {
                Some(since) => since + WRITE_TIMEOUT,
                None => return Poll::Pending,
            }
        } else {
            self.has_nothing_to_read = true;
            if !self.bytes_since_request && self.write_timer.is_none() {
                self.requests.note_idle();
            }
            self.read_deadline
        };
        if self.read_timer.deadline() > deadline {
            self.read_timer.as_mut().reset(deadline);
        }
        loop {
            ready!(self.read_timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.read_timer.as_mut().reset(deadline);
        }
    }

    fn poll_written(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.has_nothing_to_read = false;
        }
        self.poll_taken(cx, written)
    }

    /// Fails when the client has taken nothing for too long. TLS takes what is written into a buffer of its own, and waits
    /// for the client when that is flushed or the connection is closed.
    fn poll_taken<T>(&mut self, cx: &mut Context<'_>, taken: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if taken.is_ready() {
            self.write_timer = None;
            return taken;
        }
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.requests.must_give_way() {
            // Polled again behind the handlers that wait for their turn.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, buffer) else {
            return this.poll_read_deadline(cx);
        };
        if buffer.filled().len() > before {
            this.note_bytes();
        } else {
            this.client_finished = true;
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.poll_written(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.poll_written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.poll_taken(cx, flushed)
    }

    /// Closes our half, then discards bytes until the client closes its own: it may still be sending. A connection that
    /// ends while it is idle is closed at once.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let linger = match &mut this.linger {
            Some(linger) => linger,
            None => {
                let closed = Pin::new(&mut this.stream).poll_shutdown(cx);
                ready!(this.poll_taken(cx, closed))?;
                let has_nothing_to_say = this.has_nothing_to_read && this.requests.are_ending();
                if this.client_finished || has_nothing_to_say {
                    return Poll::Ready(Ok(()));
                }
                this.linger.insert(Linger { timer: Box::pin(sleep(LINGER_TIMEOUT)), bytes: 0 })
            }
        };
        let mut buffer = [0; LINGER_BUFFER_BYTES];
        while linger.bytes < LINGER_MAX_BYTES {
            let mut buffer = ReadBuf::new(&mut buffer);
            match Pin::new(&mut this.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => linger.bytes += buffer.filled().len(),
                Poll::Ready(_finished) => break,
                Poll::Pending => return linger.timer.as_mut().poll(cx).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }
}
