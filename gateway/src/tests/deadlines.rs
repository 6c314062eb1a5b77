//! Clients that miss their deadlines. The clock is stopped: it jumps to the next deadline whenever every task waits.

use std::time::Duration;

use tokio::time::{Instant, pause, sleep};

use super::client::{Client, post, request};
use super::{CALL, KEY, Server};

/// Sends the text byte by byte, one every `interval`, until the server hangs up; returns how long that took.
async fn drip(client: &mut Client, text: &str, interval: Duration) -> Duration {
    let begun = Instant::now();
    for byte in text.bytes() {
        // The read below notices a closed connection.
        client.stream.try_write(&[byte]).ok();
        tokio::select! {
            () = client.hung_up() => return begun.elapsed(),
            () = sleep(interval) => {}
        }
    }
    client.hung_up().await;
    begun.elapsed()
}

fn is_about(elapsed: Duration, seconds: u64) -> bool {
    (seconds * 1000..=seconds * 1000 + 100).contains(&u64::try_from(elapsed.as_millis()).unwrap())
}

#[tokio::test]
async fn a_client_that_never_completes_a_head_is_let_go() {
    let server = Server::start().await;
    pause();
    for (text, interval_seconds) in [
        ("", 1),
        ("P", 1),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n", 1),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0),
        ("POST /webhook.php HTTP/1.1\r\nX-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1),
        ("POST /webhook.php HTTP/1.1\r\nHost: x", 0),
    ] {
        let mut client = server.connect().await;
        let elapsed = drip(&mut client, text, Duration::from_secs(interval_seconds)).await;
        assert!(is_about(elapsed, 10), "{text:?}: {elapsed:?}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_kept_longer_than_clients_keep_it() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    pause();
    let not_found = request("GET", "/", "");
    for _ in 0..3 {
        assert_eq!(client.exchange(&not_found).await.status, 404);
        sleep(Duration::from_secs(70)).await;
    }
    assert_eq!(client.exchange(&not_found).await.status, 404);
    let begun = Instant::now();
    assert!(client.is_closed().await);
    assert!(is_about(begun.elapsed(), 75), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_slow_second_head_has_the_deadline_of_a_head() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    pause();
    assert_eq!(client.exchange(&request("GET", "/", "")).await.status, 404);
    sleep(Duration::from_secs(60)).await;
    let elapsed = drip(&mut client, &"G".repeat(100), Duration::from_secs(1)).await;
    assert!(is_about(elapsed, 10), "{elapsed:?}");
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_answered_after_10_seconds() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    pause();
    let sent = post(CALL);
    let begun = Instant::now();
    let reply = client.exchange(&sent[..sent.len() - 1]).await;
    assert!(is_about(begun.elapsed(), 10), "{:?}", begun.elapsed());
    assert_eq!(reply.body, r#"{"error":"Request timeout","message":"Request body did not arrive in time"}"#);
    assert_eq!(reply.status, 408);
    assert_eq!(reply.header("connection"), "close");
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_dripping_body_is_answered_after_30_seconds() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    pause();
    let begun = Instant::now();
    client.send(&request("POST", "/webhook", &format!("X-API-Key: {KEY}\r\nContent-Length: 100\r\n"))).await;
    let reply = loop {
        tokio::select! {
            reply = client.reply() => break reply,
            () = sleep(Duration::from_secs(9)) => {}
        }
        client.send(" ").await;
    };
    assert_eq!(reply.status, 408);
    assert!(is_about(begun.elapsed(), 30), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_client_that_stays_after_its_last_answer_is_left() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    pause();
    let sent = request("POST", "/webhook", &format!("X-API-Key: {KEY}\r\nContent-Length: 99999999\r\n"));
    assert_eq!(client.exchange(&sent).await.status, 413);
    let begun = Instant::now();
    server.stop().await;
    assert!(is_about(begun.elapsed(), 3), "{:?}", begun.elapsed());
}
