//! Floods of frames and of guesses, which cost the sender little: they take little memory, and stop nobody else.

use std::net::SocketAddr;
use std::ops::Range;

use harness::{TEST_KEY, peak_memory_bytes};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, RST_STREAM, SETTINGS, frame,
    post_head, stream_of,
};
use crate::http::{Up, call};

/// Most memory that all floods together may add, in bytes.
const MEMORY_MAX: u64 = 30_000_000;

const CANCEL: [u8; 4] = 8_u32.to_be_bytes();

struct Flood {
    name: &'static str,
    bytes: Vec<u8>,
    /// Whether the client is still connected after it; `None`: that depends on the machine's load.
    is_borne: Option<bool>,
}

fn floods() -> Vec<Flood> {
    let open = frame(HEADERS, END_HEADERS, 1, &post_head(TEST_KEY));
    let all = |first: Vec<u8>, rest: &dyn Fn(u32) -> Vec<u8>, count| {
        (1..=count).fold(first, |mut all, number| {
            all.extend(rest(number));
            all
        })
    };
    let reset = |number| {
        let mut begun = frame(HEADERS, END_HEADERS | END_STREAM, stream_of(number), &post_head("x"));
        begun.extend(frame(RST_STREAM, 0, stream_of(number), &CANCEL));
        begun
    };
    let flood = |name, is_borne, bytes| Flood { name, bytes, is_borne };
    vec![
        flood("pings", Some(true), all(Vec::new(), &|_| frame(PING, 0, 0, b"ping...."), 100_000)),
        flood("settings", Some(true), all(Vec::new(), &|_| frame(SETTINGS, 0, 0, &[]), 10_000)),
        flood("requests reset at once", Some(false), all(Vec::new(), &reset, 10_000)),
        flood("empty pieces of a body", Some(false), all(open.clone(), &|_| frame(DATA, 0, 1, &[]), 10_000)),
        flood("a body in single bytes", None, all(open, &|_| frame(DATA, 0, 1, b" "), 60_000)),
        flood(
            "a head without end",
            Some(false),
            all(frame(HEADERS, 0, 1, &post_head("x")), &|_| frame(CONTINUATION, 0, 1, &[0x88; 16_000]), 100),
        ),
        flood("an acknowledgement of no setting", Some(true), frame(SETTINGS, 1, 0, &[])),
        flood("a piece of no body", Some(false), frame(DATA, 0, 1, b"x")),
        flood("a setting out of range", Some(false), frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])),
    ]
}

#[tokio::test]
async fn floods_of_frames_take_little_memory_and_stop_nobody() {
    let mut up = Up::start().await;
    let address = up.process.public_socket().await;
    let sent = call(&json!({})).to_string();
    assert_eq!(up.post(sent.clone()).await.status, 201);
    let before = peak_memory_bytes(up.process.pid());
    for Flood { name, bytes, is_borne } in floods() {
        let client = Frames::connect(address, 65_535).await;
        let survives = client.survives(&bytes).await;
        assert!(is_borne.is_none_or(|is_borne| is_borne == survives), "{name}: {survives}");
        assert_eq!(up.post(sent.clone()).await.status, 201, "after {name}");
    }
    let growth = peak_memory_bytes(up.process.pid()) - before;
    assert!(growth < MEMORY_MAX, "{growth} bytes");
}

/// Goal: guesses of keys cost no memory.
#[tokio::test]
async fn a_hundred_thousand_wrong_keys_take_no_memory() {
    let mut up = Up::start().await;
    let address = up.process.public_socket().await;
    let mut clients = JoinSet::new();
    let before = peak_memory_bytes(up.process.pid());
    for client in 0..10 {
        clients.spawn(guess(address, client * 10_000..(client + 1) * 10_000));
    }
    while let Some(guessed) = clients.join_next().await {
        guessed.unwrap();
    }
    let growth = peak_memory_bytes(up.process.pid()) - before;
    assert!(growth < MEMORY_MAX, "{growth} bytes");
    assert_eq!(up.post(call(&json!({})).to_string()).await.status, 201);
}

/// Pipelines a post with each key over one connection, a hundred at a time.
async fn guess(address: SocketAddr, keys: Range<u32>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = |key| format!("POST /webhook HTTP/1.1\r\nHost: x\r\nX-API-Key: cv_live_{key:032}\r\n\r\n");
    stream.write_all(request(0).as_bytes()).await.unwrap();
    let mut first = Vec::new();
    while !first.ends_with(b"}") {
        assert!(stream.read_buf(&mut first).await.unwrap() > 0, "the server has closed");
    }
    let keys: Vec<_> = keys.collect();
    for hundred in keys.chunks(100) {
        let requests: String = hundred.iter().map(|key| request(*key)).collect();
        stream.write_all(requests.as_bytes()).await.unwrap();
        // All answers are equally long.
        let mut answers = vec![0; first.len() * hundred.len()];
        stream.read_exact(&mut answers).await.unwrap();
        for answer in answers.chunks(first.len()) {
            assert!(answer.starts_with(b"HTTP/1.1 401 ") && answer.ends_with(b"}"));
        }
    }
}
