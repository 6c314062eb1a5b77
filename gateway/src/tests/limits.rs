//! Sizes, framing, and the end of connections.

use std::time::Duration;

use callvine_shared::call::CallId;
use tokio::io::AsyncWriteExt as _;

use super::client::{post, request};
use super::{CALL, KEY, MAX_BODY_BYTES, Server, eventually};

/// Long enough for a loaded machine; reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(30);

fn head(headers: &str) -> String {
    request("POST", "/webhook.php", &format!("X-API-Key: {KEY}\r\n{headers}"))
}

/// The published example with spaces after it.
fn call_of(bytes: usize) -> String {
    CALL.to_owned() + &" ".repeat(bytes - CALL.len())
}

#[tokio::test]
async fn a_body_may_have_exactly_the_largest_size() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    assert_eq!(client.exchange(&post(&call_of(MAX_BODY_BYTES))).await.status, 201);
    let reply = client.exchange(&post(&call_of(MAX_BODY_BYTES + 1))).await;
    assert_eq!(reply.status, 413);
    assert_eq!(
        reply.body,
        r#"{"error":"Payload too large","message":"Request body must have at most 65536 bytes"}"#
    );
    assert_eq!(reply.header("connection"), "close");
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_large_body_is_refused_before_it_is_sent() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let reply = client.exchange(&head("Content-Length: 1000000000000\r\n")).await;
    assert_eq!(reply.status, 413);
    let mut client = server.connect().await;
    // Not "100 Continue".
    let reply = client.exchange(&head("Content-Length: 65537\r\nExpect: 100-continue\r\n")).await;
    assert_eq!(reply.status, 413);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_client_that_sends_all_before_it_reads_gets_its_answer() {
    let server = Server::start().await;
    for head in [
        head("Content-Length: 8000000\r\n"),
        request("POST", "/webhook", "X-API-Key: wrong\r\nContent-Length: 8000000\r\n"),
        request("POST", "/nowhere", "Content-Length: 8000000\r\n"),
    ] {
        let mut client = server.connect().await;
        client.send(&head).await;
        client.stream.write_all(&vec![b' '; 8_000_000]).await.unwrap();
        assert!(client.reply().await.status >= 401, "{head}");
        assert!(client.is_closed().await);
    }
}

#[tokio::test]
async fn an_answer_that_leaves_a_long_body_unread_announces_the_end_of_its_connection() {
    let server = Server::start().await;
    let key = format!("X-API-Key: {KEY}\r\n");
    for (method, path, headers, status) in [
        ("POST", "/nowhere", "", 404),
        ("PUT", "/webhook", "", 405),
        ("POST", "/webhook", "", 401),
        ("POST", "/webhook", "X-API-Key: wrong\r\n", 401),
        ("GET", "/calls/999", &key, 404),
    ] {
        // The longest unread body after which the connection stays open, and one that is a byte longer.
        for (bytes, connection) in [(4096, ""), (4097, "close")] {
            let mut client = server.connect().await;
            let sent = request(method, path, &format!("{headers}Content-Length: {bytes}\r\n"));
            let reply = client.exchange(&sent).await;
            assert_eq!((reply.status, reply.header("connection")), (status, connection), "{sent}");
        }
    }
    let mut client = server.connect().await;
    for _ in 0..2 {
        let reply = client.exchange(&post(&"{".repeat(5000))).await;
        assert_eq!((reply.status, reply.header("connection")), (400, ""), "this body was read");
    }
}

#[tokio::test]
async fn the_bytes_that_arrive_count_not_their_announcement() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let chunked = head("Transfer-Encoding: chunked\r\n");
    let (first, second) = CALL.split_at(40);
    let sent =
        format!("{chunked}28\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\nX-Trailer: 1\r\n\r\n", second.len());
    assert_eq!(client.exchange(&sent).await.status, 201);
    client.send(&chunked).await;
    // Endless: the last chunk never comes.
    let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
    for _ in 0..5 {
        client.send(&chunk).await;
    }
    assert_eq!(client.reply().await.status, 413);
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_continue() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let length = CALL.len();
    let asked =
        client.exchange(&head(&format!("Content-Length: {length}\r\nExpect: 100-continue\r\n"))).await;
    assert_eq!(asked.status, 100);
    assert_eq!(client.exchange(CALL).await.status, 201);
    let refused = request("POST", "/webhook", "Content-Length: 9\r\nExpect: 100-continue\r\n");
    assert_eq!(client.exchange(&refused).await.status, 401);
}

#[tokio::test]
async fn a_connection_is_used_again_after_every_answer_that_read_the_body() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let wrong_key =
        request("POST", "/webhook", &format!("X-API-Key: x\r\nContent-Length: {}\r\n", CALL.len())) + CALL;
    for (sent, status) in [(post(CALL), 201), (post("{"), 400), (wrong_key, 401), (post(CALL), 201)] {
        assert_eq!(client.exchange(&sent).await.status, status);
    }
    // Pipelined.
    client.send(&post(CALL).repeat(3)).await;
    for _ in 0..3 {
        assert_eq!(client.reply().await.status, 201);
    }
}

#[tokio::test]
async fn half_a_connection_is_enough_for_an_answer() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.send(&post(CALL)).await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.reply().await.status, 201);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn bytes_that_are_not_http_are_refused() {
    let server = Server::start().await;
    for garbage in ["\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "nonsense\r\n\r\n", "GET /\r\n\r\n"] {
        let mut client = server.connect().await;
        assert_eq!(client.exchange(garbage).await.status, 400, "{garbage:?}");
        assert!(client.is_closed().await);
    }
    let mut client = server.connect().await;
    let long_head = request("POST", "/webhook", &format!("X: {}\r\n", "x".repeat(100_000)));
    assert_eq!(client.exchange(&long_head).await.status, 431);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_client_that_goes_away_changes_nothing() {
    let server = Server::start().await;
    for _ in 0..10 {
        let mut client = server.connect().await;
        client.send(&post(CALL)).await;
    }
    // SQLite counts from 1.
    let last = CallId(10);
    eventually(PATIENCE, "all calls are stored", async || {
        server.store.call(last, Some("test")).await.unwrap().is_some()
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_shutdown_answers_what_was_begun_and_closes_the_rest() {
    let server = Server::start().await;
    let (mut idle, mut used, mut midway) =
        (server.connect().await, server.connect().await, server.connect().await);
    assert_eq!(used.exchange(&post(CALL)).await.status, 201);
    let sent = post(CALL);
    let (begin, end) = sent.split_at(sent.len() - 10);
    midway.send(begin).await;
    // The server has read the head once it has asked for the body.
    assert_eq!(used.exchange(&post(CALL)).await.status, 201);

    let address = server.address;
    server.shutdown.cancel();
    // The client does not know of the shutdown yet.
    let last = used.exchange(&post(CALL)).await;
    assert_eq!((last.status, last.header("connection")), (201, "close"));
    assert!(idle.is_closed().await && used.is_closed().await);
    assert_eq!(midway.exchange(end).await.status, 201);
    assert!(midway.is_closed().await);
    drop((idle, used, midway));
    server.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
