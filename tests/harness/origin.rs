//! A host of recordings, with chosen faults: what telephony providers' media servers do on a bad day.
//!
//! It speaks HTTP/1.1 with one request a connection, by hand: a proper server would not send half a body.

mod writing;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::writing::write_answer;

/// Longest head of a request that is read: a client of recordings sends a few hundred bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The answer of the origin to one request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// 200 with this body and media type.
    Body {
        /// The `Content-Type`.
        media_type: String,
        /// All of the body.
        bytes: Bytes,
    },
    /// Any status with JSON.
    Json {
        /// The status.
        status: u16,
        /// The body.
        text: String,
    },
    /// A status with a short text: 403, 404, 500.
    Status(u16),
    /// A status with `Retry-After`.
    RetryAfter {
        /// 429 or 503, most often.
        status: u16,
        /// Seconds, or a date.
        value: String,
    },
    /// 200 with the whole `Content-Length`, but the connection ends after the first `sent` bytes.
    Truncated {
        /// The whole body.
        bytes: Bytes,
        /// Bytes of it that are sent.
        sent: usize,
    },
    /// 200 with the whole `Content-Length`, then nothing more after the first `sent` bytes, as long as the client
    /// waits.
    Stalled {
        /// The whole body.
        bytes: Bytes,
        /// Bytes of it that are sent.
        sent: usize,
    },
    /// A redirect.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// The `Location`.
        to: String,
    },
    /// 200 with a `Content-Length` of `claimed` bytes; zeros are sent until the client has had enough.
    Large {
        /// Bytes claimed.
        claimed: u64,
    },
    /// 200 without a `Content-Length`; zeros without end.
    Endless,
    /// 200 with a recording of so many bytes of sound, which are made as they are sent; the second half is sent when as
    /// many clients as `together` waits for have the first.
    Sound {
        /// Bytes of 8 kHz A-law.
        data_bytes: u32,
        /// Shared by all answers that are to be under way at once.
        together: Arc<Barrier>,
    },
    /// 200 without a `Content-Length`; zeros without end, so many at a time, each time after a pause.
    Slow {
        /// Bytes at a time.
        piece: usize,
        /// The pause.
        pause: Duration,
    },
    /// 200 with this body, and a word on how it is to be decoded.
    Encoded {
        /// The `Content-Encoding`.
        coding: &'static str,
        /// All of the body.
        bytes: Bytes,
    },
    /// 401 with this challenge, until a request answers it; then 200 with a WAV file.
    Guarded {
        /// The `WWW-Authenticate`.
        challenge: String,
        /// The WAV file.
        bytes: Bytes,
    },
    /// These bytes, the head among them, whatever HTTP says.
    Raw(Bytes),
    /// The request is read, and the connection reset without an answer.
    Reset,
}

impl Answer {
    /// A WAV file.
    pub fn wav(bytes: impl Into<Bytes>) -> Self {
        Self::body("audio/wav", bytes)
    }

    /// 200 with any body.
    pub fn body(media_type: &str, bytes: impl Into<Bytes>) -> Self {
        Self::Body { media_type: media_type.to_owned(), bytes: bytes.into() }
    }

    /// A web page that claims to be audio, as log-in and error pages of media servers do.
    pub fn page_as_audio() -> Self {
        Self::body(
            "audio/wav",
            "<!DOCTYPE html><html><head><title>Sign in</title></head><body></body></html>",
        )
    }

    /// 200 with nothing.
    pub fn empty() -> Self {
        Self::body("audio/wav", Bytes::new())
    }
}

/// A request as the origin saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// Headers with their names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// When its head had arrived.
    pub at: Instant,
}

impl Seen {
    /// The first header of this name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(seen, _)| seen == name).map(|(_, value)| value.as_str())
    }
}

/// One path: what it answers, and what it was asked.
#[derive(Default)]
struct Route {
    /// Answered one each, in order, before `last`.
    first: Vec<Answer>,
    last: Option<Answer>,
    seen: Vec<Seen>,
}

/// The routes by path and query, as the client sends them.
type Routes = Arc<Mutex<HashMap<String, Route>>>;

/// A running origin; it ends when dropped, or with the runtime of the test that started it.
pub struct Origin {
    address: SocketAddr,
    routes: Routes,
    _stop: DropGuard,
}

impl Origin {
    /// Listens on a free port of 127.0.0.1; every path is 404 until told otherwise.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start() -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST).await
    }

    /// As [`Origin::start`], at another address of this machine, which is another host.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start_at(address: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Routes::default();
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve(listener, Arc::clone(&routes))));
        Self { address, routes, _stop: stop.drop_guard() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a path (which begins with `/`).
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers this path so, from now on; returns its address.
    pub fn serve(&self, path: &str, answer: Answer) -> String {
        self.serve_in_turn(path, Vec::new(), answer)
    }

    /// Answers this path with each of `first` once, in order, and with `last` after them; returns its address.
    pub fn serve_in_turn(&self, path: &str, mut first: Vec<Answer>, last: Answer) -> String {
        first.reverse();
        let mut routes = self.routes.lock();
        let route = routes.entry(path.to_owned()).or_default();
        route.first = first;
        route.last = Some(last);
        self.url(path)
    }

    /// Answers this path with a status `times` times, then with `last`; returns its address.
    pub fn serve_after_failures(&self, path: &str, status: u16, times: usize, last: Answer) -> String {
        self.serve_in_turn(path, vec![Answer::Status(status); times], last)
    }

    /// How often this path was asked for.
    pub fn count(&self, path: &str) -> usize {
        self.routes.lock().get(path).map_or(0, |route| route.seen.len())
    }

    /// The requests for this path so far, in the order of their arrival.
    pub fn seen(&self, path: &str) -> Vec<Seen> {
        self.routes.lock().get(path).map_or_else(Vec::new, |route| route.seen.clone())
    }
}

async fn serve(listener: TcpListener, routes: Routes) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(converse(stream, Arc::clone(&routes)));
        while connections.try_join_next().is_some() {}
    }
}

/// One connection. A failure of it is the client's doing, and the client's to notice.
async fn converse(mut stream: TcpStream, routes: Routes) {
    let Some(head) = read_head(&mut stream).await else {
        return;
    };
    let Some((path, seen)) = parse(&head) else { return };
    let is_head = seen.method == "HEAD";
    let scheme = seen.header("authorization").and_then(|header| header.split(' ').next()).map(str::to_owned);
    let answer = {
        let mut routes = routes.lock();
        let route = routes.entry(path).or_default();
        route.seen.push(seen);
        route.first.pop().or_else(|| route.last.clone()).unwrap_or(Answer::Status(404))
    };
    let answer = match answer {
        Answer::Guarded { challenge, bytes } if scheme.as_deref() == challenge.split(' ').next() => {
            Answer::wav(bytes)
        }
        answer => answer,
    };
    // The client may hang up at any time: that is what it should do with most of the faults.
    write_answer(&mut stream, &answer, is_head).await.ok();
}

/// The request up to its empty line; `None` when the client leaves before that.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD_BYTES {
            return None;
        }
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

fn parse(head: &str) -> Option<(String, Seen)> {
    let mut lines = head.lines();
    let mut request = lines.next()?.split(' ');
    let method = request.next()?.to_owned();
    let path = request.next()?.to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let at = Instant::now();
    Some((path, Seen { method, headers, at }))
}
