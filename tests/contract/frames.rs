//! HTTP/2 in raw frames (RFC 9113), for clients as no library would be.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A frame as it is sent.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The number of a connection's request, from 0, as the number of its stream.
pub(crate) fn stream_of(request: u32) -> u32 {
    request * 2 + 1
}

/// The head of a post to the webhook, with this key, without Huffman coding or a table (RFC 7541).
pub(crate) fn post_head(key: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (name_index, name, value) in [(4, "", "/webhook"), (1, "", "localhost"), (0, "x-api-key", key)] {
        block.push(name_index);
        for text in [name, value].into_iter().filter(|text| !text.is_empty()) {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// Marks the ping whose answer shows that all before it has been handled.
const SETTLE: &[u8; 8] = b"settle..";

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    fn is_settled(&self) -> bool {
        self.kind == PING && self.flags == ACK && self.payload == SETTLE
    }
}

async fn next(stream: &mut (impl AsyncRead + Unpin)) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).await.ok()?;
    Some(Frame { kind: head[3], flags: head[4], stream: number, payload })
}

/// A connection whose preface has been sent.
pub(crate) struct Frames {
    stream: TcpStream,
    /// Bytes of bodies that may be sent, over all requests; the sender subtracts what it sends.
    pub(crate) room: usize,
}

impl Frames {
    /// Connects, and lets the server send so many bytes of each answer.
    pub(crate) async fn connect(address: SocketAddr, window: u32) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let initial_window_size = [&[0, 4][..], &window.to_be_bytes()].concat();
        preface.extend(frame(SETTINGS, 0, 0, &initial_window_size));
        stream.write_all(&preface).await.unwrap();
        // The window that a connection begins with (RFC 9113, section 6.9.2).
        Self { stream, room: 65_535 }
    }

    /// Whether the bytes were sent: the server may have closed the connection.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// The next frame; `None` when the server has closed the connection.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let frame = next(&mut self.stream).await?;
        if (frame.kind, frame.stream) == (WINDOW_UPDATE, 0) {
            let more = u32::from_be_bytes(frame.payload[..4].try_into().unwrap());
            self.room += usize::try_from(more).unwrap();
        }
        Some(frame)
    }

    /// Waits until the server has handled all that was sent before; `false` when it has closed the connection.
    pub(crate) async fn settle(&mut self) -> bool {
        self.send(&frame(PING, 0, 0, SETTLE)).await && self.settled().await
    }

    /// Sends all of this while it reads; whether the server has kept the connection, and handled it all.
    pub(crate) async fn survives(mut self, bytes: &[u8]) -> bool {
        let (mut reading, mut writing) = self.stream.split();
        let last = frame(PING, 0, 0, SETTLE);
        let write = async {
            // The server may have closed the connection, which the reader notices.
            drop(writing.write_all(bytes).await);
            drop(writing.write_all(&last).await);
        };
        let read = async { while next(&mut reading).await.is_some_and(|frame| !frame.is_settled()) {} };
        let ((), ()) = tokio::join!(write, read);
        self.settle().await
    }

    async fn settled(&mut self) -> bool {
        while let Some(frame) = self.next().await {
            if frame.is_settled() {
                return true;
            }
        }
        false
    }
}
