//! A small HTTP client for bursts and for lonely calls. It sends a given number of calls and checks every answer, and
//! it takes little of the machine that it measures.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Loaded, Target};
use crate::results::Latency;

/// Bound of an answer, far above the length of any that the program gives.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

const CREATED: &[u8] = b"HTTP/1.1 201 ";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// The outcome of one connection's calls.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    failures: u64,
}

/// Sends this many calls as fast as they are answered, the same number over each connection.
pub(crate) async fn burst(target: Target<'_>, calls: u32) -> anyhow::Result<Loaded> {
    let mut connections = Vec::new();
    for _ in 0..target.connections {
        connections.push(Connection::open(target).await?);
    }
    let each = calls.div_ceil(target.connections);
    let began_at = Instant::now();
    let mut tasks = JoinSet::new();
    for mut connection in connections {
        tasks.spawn(async move {
            let mut seen = Seen::default();
            for number in 0..each {
                connection.call(number, &mut seen).await?;
            }
            anyhow::Ok(seen)
        });
    }
    let mut all = Seen::default();
    while let Some(seen) = tasks.join_next().await {
        let seen = seen.context("a connection's task failed")??;
        all.latencies.extend(seen.latencies);
        all.failures += seen.failures;
    }
    Ok(loaded(all, began_at.elapsed()))
}

/// Sends this many calls over one connection, one at a time, with a pause between two.
pub(crate) async fn lonely(target: Target<'_>, calls: u32, pause: Duration) -> anyhow::Result<Loaded> {
    let mut connection = Connection::open(target).await?;
    let mut seen = Seen::default();
    let mut due = interval(pause);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let began_at = Instant::now();
    for number in 0..calls {
        due.tick().await;
        connection.call(number, &mut seen).await?;
    }
    Ok(loaded(seen, began_at.elapsed()))
}

/// Posts one call and makes sure that it is answered 201; returns how many were.
pub(crate) async fn probe(target: Target<'_>) -> anyhow::Result<u64> {
    let mut seen = Seen::default();
    Connection::open(target).await?.call(0, &mut seen).await?;
    ensure!(seen.failures == 0, "a valid call is not answered 201");
    Ok(1)
}

fn loaded(mut seen: Seen, elapsed: Duration) -> Loaded {
    seen.latencies.sort_unstable();
    // Percentiles count in parts of ten thousand, so that 99.9 % is a whole number.
    let percentile = |parts: usize| {
        let rank = (seen.latencies.len() * parts).div_ceil(10_000);
        let latency = seen.latencies.get(rank.saturating_sub(1));
        latency.copied().unwrap_or_default().as_secs_f64() * 1000.0
    };
    Loaded {
        calls: u64::try_from(seen.latencies.len()).unwrap_or(u64::MAX) - seen.failures,
        failures: seen.failures,
        seconds: elapsed.as_secs_f64(),
        latency: Some(Latency {
            p50_ms: percentile(5_000),
            p90_ms: percentile(9_000),
            p99_ms: percentile(9_900),
            p999_ms: percentile(9_990),
            max_ms: percentile(10_000),
        }),
    }
}

/// An open connection, and the requests that are sent over it in turn.
struct Connection {
    stream: TcpStream,
    requests: Vec<Vec<u8>>,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(target: Target<'_>) -> anyhow::Result<Self> {
        let address = target.url.strip_prefix("http://").context("not an http:// address")?;
        let (host, path) = address.split_once('/').context("an address without a path")?;
        let stream = TcpStream::connect(host).await.with_context(|| format!("cannot connect to {host}"))?;
        stream.set_nodelay(true)?;
        let head = format!(
            "POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nX-API-Key: {}\r\n",
            target.key
        );
        let request =
            |body: &String| format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
        Ok(Self { stream, requests: target.bodies.lines.iter().map(request).collect(), answer: Vec::new() })
    }

    async fn call(&mut self, number: u32, seen: &mut Seen) -> anyhow::Result<()> {
        let index = usize::try_from(number)? % self.requests.len().max(1);
        let request = self.requests.get(index).context("there are no calls to send")?;
        let sent_at = Instant::now();
        self.stream.write_all(request).await?;
        self.read_answer().await?;
        seen.latencies.push(sent_at.elapsed());
        seen.failures += u64::from(!self.answer.starts_with(CREATED));
        Ok(())
    }

    /// Reads one answer to its end.
    async fn read_answer(&mut self) -> anyhow::Result<()> {
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                bail!("the server closed the connection");
            }
            if answer_bytes(&self.answer)?.is_some_and(|bytes| self.answer.len() >= bytes) {
                return Ok(());
            }
            ensure!(self.answer.len() < ANSWER_MAX_BYTES, "an answer without an end");
        }
    }
}

/// The length of the answer that begins like this; `None` when its head is not complete.
fn answer_bytes(begin: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(end) = begin.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD) else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(begin.get(..end).unwrap_or_default()).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.context("an answer without a length")?.trim().parse()?;
    Ok(Some(end + END_OF_HEAD.len() + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(answer_bytes(answer).unwrap(), Some(answer.len()));
        assert_eq!(answer_bytes(&answer[..30]).unwrap(), None);
        assert!(answer_bytes(b"HTTP/1.1 201 Created\r\n\r\n").is_err());
    }
}
