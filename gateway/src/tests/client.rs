//! An HTTP/1.1 client that sends exactly the bytes it is told to.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::KEY;

pub(super) struct Client {
    pub(super) stream: TcpStream,
    received: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A request with a key and a body of the given length.
pub(super) fn post(body: &str) -> String {
    request("POST", "/webhook.php", &format!("X-API-Key: {KEY}\r\nContent-Length: {}\r\n", body.len())) + body
}

pub(super) fn request(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), received: Vec::new() }
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    pub(super) async fn exchange(&mut self, text: &str) -> Reply {
        self.send(text).await;
        self.reply().await
    }

    /// The next answer, which has a `Content-Length` or no body.
    pub(super) async fn reply(&mut self) -> Reply {
        self.read_reply(true).await
    }

    pub(super) async fn reply_to_head(&mut self) -> Reply {
        self.read_reply(false).await
    }

    async fn read_reply(&mut self, has_body: bool) -> Reply {
        let head = loop {
            if let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = self.received.split_off(end + 4);
                break String::from_utf8(std::mem::replace(&mut self.received, rest)).unwrap();
            }
            assert!(
                self.read_more().await,
                "closed before an answer: {:?}",
                String::from_utf8_lossy(&self.received)
            );
        };
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: HeaderMap = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect();
        let length =
            headers.get("content-length").map_or(0, |value| value.to_str().unwrap().parse().unwrap());
        let length: usize = if has_body { length } else { 0 };
        while self.received.len() < length {
            assert!(self.read_more().await, "closed within an answer");
        }
        let rest = self.received.split_off(length);
        let body = String::from_utf8(std::mem::replace(&mut self.received, rest)).unwrap();
        Reply { status, headers, body }
    }

    /// Whether the server has closed the connection without an error and without another answer.
    pub(super) async fn is_closed(&mut self) -> bool {
        self.received.is_empty() && !self.read_more().await
    }

    /// Waits until the server closes the connection, whatever it sends before.
    pub(super) async fn hung_up(&mut self) {
        while self.read_more().await {}
    }

    async fn read_more(&mut self) -> bool {
        self.stream.read_buf(&mut self.received).await.unwrap() > 0
    }
}
