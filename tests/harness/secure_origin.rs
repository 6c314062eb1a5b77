//! A host of one recording behind TLS, which speaks HTTP/1.1 or HTTP/2 and breaks off in the ways of each.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{Request, Response, StatusCode};
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longest head of a request that is read.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Size of the pieces in which the recording is written.
const PIECE_BYTES: usize = 16 * 1024;

/// The protocols that the host offers in the handshake (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `http/1.1` alone.
    Http1,
    /// `h2`, and `http/1.1` for those who don't know it.
    Http2,
}

/// How an answer breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The connection ends without the farewell of TLS.
    HangUp,
    /// HTTP/2's `RST_STREAM`: this answer is over, the connection stays.
    Reset,
    /// HTTP/2's `GOAWAY` with an error: the connection is over, and all that is under way on it.
    GoAway,
    /// `GOAWAY` without an error, as before a restart: what is under way is finished, and nothing new is taken.
    Drain,
}

/// A request as the host saw it.
#[derive(Clone, Debug)]
pub struct SeenSecurely {
    /// Whether it came as HTTP/2.
    pub is_http2: bool,
    /// The `Range`.
    pub range: Option<String>,
    /// The `Authorization`.
    pub authorization: Option<String>,
}

/// Values that the connections share.
struct Shared {
    recording: Bytes,
    /// Where everybody is sent instead.
    elsewhere: Option<String>,
    /// Whether its answers have an `ETag`, by which the rest can be asked for.
    has_validator: bool,
    /// Each request takes the last one.
    breaks: Mutex<Vec<(Break, usize)>>,
    seen: Mutex<Vec<SeenSecurely>>,
}

/// A running host; it ends when dropped, or with the runtime of the test that started it.
pub struct SecureOrigin {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

impl SecureOrigin {
    /// Listens on a free port of 127.0.0.1. Each of the first requests breaks off after so many bytes.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start(
        tls: ServerConfig,
        protocol: Protocol,
        recording: impl Into<Bytes>,
        breaks: &[(Break, usize)],
    ) -> Self {
        let breaks = Mutex::new(breaks.iter().rev().copied().collect());
        let shared = Shared { breaks, ..Shared::new(recording) };
        Self::listen(tls, protocol, shared).await
    }

    /// As [`SecureOrigin::start`], in HTTP/2, without a word by which the rest of a recording could be asked for.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn without_validator(
        tls: ServerConfig,
        recording: impl Into<Bytes>,
        breaks: &[(Break, usize)],
    ) -> Self {
        let breaks = Mutex::new(breaks.iter().rev().copied().collect());
        let shared = Shared { has_validator: false, breaks, ..Shared::new(recording) };
        Self::listen(tls, Protocol::Http2, shared).await
    }

    /// In HTTP/1.1, sends everybody to another address.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn redirecting(tls: ServerConfig, to: &str) -> Self {
        let shared = Shared { elsewhere: Some(to.to_owned()), ..Shared::new(Bytes::new()) };
        Self::listen(tls, Protocol::Http1, shared).await
    }

    async fn listen(mut tls: ServerConfig, protocol: Protocol, shared: Shared) -> Self {
        let protocols: &[&[u8]] = match protocol {
            Protocol::Http1 => &[b"http/1.1"],
            Protocol::Http2 => &[b"h2", b"http/1.1"],
        };
        tls.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shared, stop) = (Arc::new(shared), CancellationToken::new());
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let serving = serve(listener, acceptor, Arc::clone(&shared));
        tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
        Self { address, shared, _stop: stop.drop_guard() }
    }

    /// The address of its recording.
    pub fn url(&self) -> String {
        format!("https://{}/call.wav", self.address)
    }

    /// The requests so far, in the order of their arrival.
    pub fn seen(&self) -> Vec<SeenSecurely> {
        self.shared.seen.lock().clone()
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            // A client that trusts nobody leaves here.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            // A failure from here on is the client's doing, and the client's to notice.
            match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => converse_in_http2(stream, shared).await.unwrap_or_default(),
                _ => converse_in_http1(stream, &shared).await.unwrap_or_default(),
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

impl Shared {
    fn new(recording: impl Into<Bytes>) -> Self {
        Self {
            recording: recording.into(),
            elsewhere: None,
            has_validator: true,
            breaks: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// Notes the request; where its answer begins and ends, and how.
    fn plan(&self, seen: SeenSecurely) -> Plan {
        let range = seen.range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        let start = range.and_then(|start| start.parse().ok()).unwrap_or(0);
        self.seen.lock().push(seen);
        let breaks = self.breaks.lock().pop();
        let rest = self.recording.slice(start..);
        let sent = breaks.map_or(rest.len(), |(_, after)| after.min(rest.len()));
        let status = match start {
            _ if self.elsewhere.is_some() => StatusCode::FOUND,
            0 => StatusCode::OK,
            _ => StatusCode::PARTIAL_CONTENT,
        };
        Plan { status, start, rest, sent, breaks: breaks.map(|(breaks, _)| breaks) }
    }

    /// The head's fields of that answer.
    fn fields(&self, plan: &Plan) -> Vec<(&'static str, String)> {
        let mut fields = vec![("content-type", "audio/wav".to_owned())];
        fields.push(("content-length", plan.rest.len().to_string()));
        if let Some(elsewhere) = &self.elsewhere {
            fields.push(("location", elsewhere.clone()));
        }
        if self.has_validator {
            fields.push(("etag", "\"v1\"".to_owned()));
        }
        if plan.start > 0 {
            let whole = self.recording.len();
            fields.push(("content-range", format!("bytes {}-{}/{whole}", plan.start, whole - 1)));
        }
        fields
    }
}

/// One answer.
struct Plan {
    status: StatusCode,
    start: usize,
    rest: Bytes,
    /// Bytes of `rest` that are sent before it breaks off.
    sent: usize,
    breaks: Option<Break>,
}

async fn converse_in_http1(mut stream: TlsStream<TcpStream>, shared: &Shared) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD_BYTES {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let field = |name: &str| {
        let found = head.lines().filter_map(|line| line.split_once(": "));
        found.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    };
    let seen = SeenSecurely { is_http2: false, range: field("range"), authorization: field("authorization") };
    let plan = shared.plan(seen);
    let mut text = format!("HTTP/1.1 {}\r\nconnection: close\r\n", plan.status);
    for (name, value) in shared.fields(&plan) {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes()).await?;
    stream.write_all(&plan.rest.slice(..plan.sent)).await?;
    stream.flush().await?;
    match plan.breaks {
        // Without the farewell of TLS.
        Some(_) => stream.get_mut().0.shutdown().await,
        None => stream.shutdown().await,
    }
}

async fn converse_in_http2(stream: TlsStream<TcpStream>, shared: Arc<Shared>) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    let (orders, mut ordered) = mpsc::unbounded_channel();
    let mut answers = JoinSet::new();
    loop {
        tokio::select! {
            request = connection.accept() => {
                let Some((request, respond)) = request.transpose()? else { return Ok(()) };
                answers.spawn(answer_in_http2(request, respond, Arc::clone(&shared), orders.clone()));
            }
            order = ordered.recv() => match order {
                Some(Break::GoAway) => connection.abrupt_shutdown(Reason::INTERNAL_ERROR),
                Some(Break::Drain) => connection.graceful_shutdown(),
                _ => return Ok(()),
            },
        }
    }
}

async fn answer_in_http2(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<Break>,
) {
    let field = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let seen = SeenSecurely { is_http2: true, range: field("range"), authorization: field("authorization") };
    let plan = shared.plan(seen);
    let mut head = Response::builder().status(plan.status);
    for (name, value) in shared.fields(&plan) {
        head = head.header(name, value);
    }
    let Ok(mut body) = respond.send_response(head.body(()).unwrap(), false) else { return };
    let is_last = plan.sent == plan.rest.len();
    if write(&mut body, plan.rest.slice(..plan.sent), is_last).await.is_err() {
        return;
    }
    match plan.breaks {
        None => {}
        Some(Break::Reset) => body.send_reset(Reason::INTERNAL_ERROR),
        Some(order) => {
            orders.send(order).ok();
            if order == Break::Drain {
                write(&mut body, plan.rest.slice(plan.sent..), true).await.ok();
            }
            // Kept until the client or the connection is done with it: dropping it would reset it.
            poll_fn(|context| body.poll_reset(context)).await.ok();
        }
    }
}

/// Writes as the client makes room.
async fn write(body: &mut SendStream<Bytes>, mut bytes: Bytes, is_last: bool) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        body.reserve_capacity(bytes.len().min(PIECE_BYTES));
        let Some(room) = poll_fn(|context| body.poll_capacity(context)).await.transpose()? else { break };
        let piece = bytes.split_to(room.min(bytes.len()));
        let is_end = is_last && bytes.is_empty();
        body.send_data(piece, is_end)?;
    }
    Ok(())
}
