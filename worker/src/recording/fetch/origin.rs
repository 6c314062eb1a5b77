//! A recording host for the tests, on loopback, with chosen faults.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A step of the host after it has read a request's head; at the end it closes the connection.
pub(super) enum Step {
    Send(Vec<u8>),
    /// These bytes one at a time, each after this long.
    Drip(Vec<u8>, Duration),
    /// Nothing, for as long as the host lives.
    Stall,
}

/// A running host. Gone, with its connections, when dropped.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    _connections: JoinSet<()>,
}

impl Origin {
    /// Starts a host that answers each request's head as `answer` says.
    pub(super) async fn start(answer: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (answer, noted) = (Arc::new(answer), Arc::clone(&heads));
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut running = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, heads) = (Arc::clone(&answer), Arc::clone(&noted));
                running.spawn(async move {
                    // A client that has gone is what some of the tests are about.
                    serve(stream, &*answer, &heads).await.ok();
                });
            }
        });
        Self { address, heads, _connections: connections }
    }

    /// Starts a host that answers every request with this.
    pub(super) async fn answering(answer: Vec<u8>) -> Self {
        Self::start(move |_| vec![Step::Send(answer.clone())]).await
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The heads of the requests so far.
    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: &(dyn Fn(&str) -> Vec<Step> + Send + Sync),
    heads: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    heads.lock().push(head.clone());
    for step in answer(&head) {
        match step {
            Step::Send(bytes) => stream.write_all(&bytes).await?,
            Step::Drip(bytes, pause) => {
                let mut ticks = tokio::time::interval(pause);
                for byte in bytes {
                    ticks.tick().await;
                    stream.write_all(&[byte]).await?;
                }
            }
            Step::Stall => std::future::pending().await,
        }
    }
    stream.shutdown().await
}

/// An answer with its length; `headers` are whole lines.
pub(super) fn answer(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}", body.len());
    let mut lines = vec![format!("HTTP/1.1 {status}"), length, "Connection: close".to_owned()];
    lines.extend(headers.iter().map(|&header| header.to_owned()));
    let mut bytes = lines.join("\r\n").into_bytes();
    bytes.extend_from_slice(b"\r\n\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// 200 with this body.
pub(super) fn ok(body: &[u8]) -> Vec<u8> {
    answer("200 OK", &[], body)
}

/// 302 to there.
pub(super) fn found(location: &str) -> Vec<u8> {
    answer("302 Found", &[&format!("Location: {location}")], b"moved")
}
