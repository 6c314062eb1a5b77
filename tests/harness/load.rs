//! A load of calls at an even rate, however slow the answers are: many connections, each of which posts at its own
//! beat. Plain HTTP/1.1 over TCP, so that the load costs less than the gateway under it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// An answer's head and body are at most this long.
const ANSWER_MAX_BYTES: usize = 16 * 1024;

/// One post of a load.
#[derive(Clone, Debug)]
pub struct Answered {
    /// How long until the whole answer.
    pub took: Duration,
    /// The answer's status.
    pub status: u16,
    /// Whether the answer had a `Retry-After`.
    pub has_retry_after: bool,
}

/// A load for one gateway.
#[derive(Clone)]
pub struct Load {
    address: SocketAddr,
    key: String,
    body: Arc<dyn Fn() -> String + Send + Sync>,
}

impl Load {
    /// Posts of these bodies with this key.
    pub fn new(address: SocketAddr, key: &str, body: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self { address, key: key.to_owned(), body: Arc::new(body) }
    }

    /// Posts over so many connections for a while. With a rate (calls a second, of all connections together), at that
    /// rate, as far as the connections are free; without one, as fast as the answers come.
    ///
    /// # Panics
    /// When a connection fails or an answer is not HTTP: overload is no reason for either.
    pub async fn run(&self, connections: usize, rate: Option<f64>, duration: Duration) -> Vec<Answered> {
        let begins = Instant::now();
        let beat =
            rate.map(|rate| Duration::from_secs_f64(f64::from(u32::try_from(connections).unwrap()) / rate));
        let lanes = (0..connections).map(|lane| {
            let load = self.clone();
            // Spread over one beat, so that the load is even.
            let phase = beat.map_or(Duration::ZERO, |beat| {
                beat.mul_f64(
                    f64::from(u32::try_from(lane).unwrap()) / f64::from(u32::try_from(connections).unwrap()),
                )
            });
            tokio::spawn(async move { load.lane((begins + phase, beat), begins + duration).await })
        });
        let lanes: Vec<_> = lanes.collect();
        join_all(lanes).await.into_iter().flat_map(|lane| lane.expect("every post was answered")).collect()
    }

    async fn lane(&self, (begins, beat): (Instant, Option<Duration>), ends: Instant) -> Vec<Answered> {
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        stream.set_nodelay(true).unwrap();
        let mut beats = beat.map(|beat| {
            let mut beats = interval_at(begins, beat);
            beats.set_missed_tick_behavior(MissedTickBehavior::Skip);
            beats
        });
        let mut answered = Vec::new();
        loop {
            if let Some(beats) = &mut beats {
                beats.tick().await;
            }
            if Instant::now() >= ends {
                return answered;
            }
            answered.push(self.post(&mut stream).await);
        }
    }

    async fn post(&self, stream: &mut TcpStream) -> Answered {
        let body = (self.body)();
        let request = format!(
            "POST /webhook.php HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        let sent = Instant::now();
        stream.write_all(request.as_bytes()).await.expect("sent");
        let head = read_answer(stream).await;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let has_retry_after = head.to_ascii_lowercase().contains("\r\nretry-after:");
        Answered { took: sent.elapsed(), status, has_retry_after }
    }
}

/// Reads a whole answer; returns its head.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::with_capacity(2048);
    loop {
        let count = stream.read_buf(&mut answer).await.expect("an answer");
        assert!(count > 0, "the connection was closed without an answer");
        assert!(answer.len() <= ANSWER_MAX_BYTES, "the answer is too long");
        let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(answer.get(..end).unwrap()).into_owned();
        let lower = head.to_ascii_lowercase();
        let length = lower.split("content-length:").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
        if answer.len() >= end + 4 + length {
            return head;
        }
    }
}
