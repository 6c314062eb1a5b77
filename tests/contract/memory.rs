//! How much memory clients can make the program hold that send and do not finish, or ask and do not read.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use harness::{PATIENCE, TEST_KEY, eventually, peak_memory_bytes, raise_open_files};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, frame, post_head, stream_of,
};
use crate::http::{Up, call};

/// Requests that each HTTP/2 client begins; more than the server allows at once.
const REQUESTS: u32 = 200;

/// Bytes that a client sends of each body, a piece at a time.
const BODY_BYTES: usize = 4096;
const PIECE_BYTES: usize = 512;

const MEGABYTE: u64 = 1_000_000;

/// Lets so many clients do the same, waits until all have done it, and returns by how much the memory of the program
/// has grown at the most. The clients stay connected until then; the program must serve another after them.
async fn growth<F>(clients: usize, act: impl Fn(SocketAddr, Arc<Barrier>) -> F) -> u64
where
    F: Future<Output = ()> + Send + 'static,
{
    raise_open_files();
    let mut up = Up::start().await;
    let address = up.process.public_socket().await;
    let sent = call(&json!({})).to_string();
    for _ in 0..100 {
        assert_eq!(up.post(sent.clone()).await.status, 201);
    }
    let before = peak_memory_bytes(up.process.pid());
    let done = Arc::new(Barrier::new(clients + 1));
    let mut acting = JoinSet::new();
    for _ in 0..clients {
        acting.spawn(act(address, Arc::clone(&done)));
    }
    done.wait().await;
    let growth = peak_memory_bytes(up.process.pid()) - before;
    acting.shutdown().await;
    eventually(PATIENCE, "others are served afterwards", async || up.post(sent.clone()).await.status == 201)
        .await;
    growth
}

/// Opens every body, and sends a little of each at a time, as far as the server lets it.
async fn send_unfinished_bodies(address: SocketAddr, done: Arc<Barrier>) {
    let mut client = Frames::connect(address, 65_535).await;
    for request in 0..REQUESTS {
        client.send(&frame(HEADERS, END_HEADERS, stream_of(request), &post_head(TEST_KEY))).await;
        client.send(&frame(DATA, 0, stream_of(request), b" ")).await;
        client.room -= 1;
    }
    let mut is_open = client.settle().await;
    for _ in 0..BODY_BYTES / PIECE_BYTES {
        for request in 0..REQUESTS {
            while is_open && client.room < PIECE_BYTES {
                is_open = client.next().await.is_some();
            }
            if is_open {
                client.room -= PIECE_BYTES;
                is_open = client.send(&frame(DATA, 0, stream_of(request), &[b' '; PIECE_BYTES])).await;
            }
        }
    }
    if is_open {
        client.settle().await;
    }
    done.wait().await;
    // Holds the connection until the test has looked.
    std::future::pending::<()>().await;
    drop(client);
}

/// Goal: 500 clients with 200 unfinished bodies each stay within 200 MB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_bodies_take_bounded_memory() {
    let growth = growth(500, send_unfinished_bodies).await;
    assert!(growth < 200 * MEGABYTE, "{growth} bytes");
}

/// Asks as often as it may, and makes no room for any answer.
async fn ask_and_not_read(address: SocketAddr, done: Arc<Barrier>) {
    let mut client = Frames::connect(address, 0).await;
    for request in 0..REQUESTS {
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream_of(request), &post_head("x"))).await;
    }
    // The head of an answer needs no room.
    let mut settled = HashSet::new();
    while settled.len() < REQUESTS as usize {
        let Some(frame) = client.next().await else { break };
        if matches!(frame.kind, HEADERS | RST_STREAM) {
            settled.insert(frame.stream);
        }
    }
    done.wait().await;
    std::future::pending::<()>().await;
    drop(client);
}

/// Goal: 1,000 clients that ask 200 times each and make no room for the answers stay within 100 MB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_takes_take_bounded_memory() {
    let growth = growth(1_000, ask_and_not_read).await;
    assert!(growth < 100 * MEGABYTE, "{growth} bytes");
}

/// Sends a head that is as long as it may be, and not its end.
async fn send_long_head(address: SocketAddr, done: Arc<Barrier>) {
    let mut client = TcpStream::connect(address).await.unwrap();
    let head = format!("POST /webhook HTTP/1.1\r\nX-Long: {}", "x".repeat(32_000));
    client.write_all(head.as_bytes()).await.unwrap();
    // The server gives it up after ten seconds, and has read it all by then.
    client.read_u8().await.unwrap_err();
    done.wait().await;
}

/// Goal: 1,000 clients with the longest heads stay within 100 MB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_heads_take_bounded_memory() {
    let growth = growth(1_000, send_long_head).await;
    assert!(growth < 100 * MEGABYTE, "{growth} bytes");
}
