//! Answers that no body decides: who may see a call, which path and method there is, and a database that is away. The
//! published answers to a body are in `tests/contract/webhook.rs`.

use tokio::time::{Instant, pause};

use super::client::{post, request};
use super::{CALL, KEY, Server};

#[tokio::test]
async fn a_call_that_is_not_the_clients_own_is_not_found() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let path = client.exchange(&post(CALL)).await.header("location").to_owned();
    let not_found = r#"{"error":"Not found","message":"There is no call with this ID"}"#;
    for (path, key) in
        [(path.as_str(), "prod_key_456"), ("/calls/999999", KEY), ("/calls/x", KEY), ("/recording.php", KEY)]
    {
        let reply = client.exchange(&request("GET", path, &format!("X-API-Key: {key}\r\n"))).await;
        assert_eq!((reply.status, reply.body.as_str()), (404, not_found), "{path} {key}");
    }
}

#[tokio::test]
async fn a_head_request_gets_the_length_of_the_answer_and_no_body() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let path = client.exchange(&post(CALL)).await.header("location").to_owned();
    let key = format!("X-API-Key: {KEY}\r\n");
    let shown = client.exchange(&request("GET", &path, &key)).await;
    client.send(&request("HEAD", &path, &key)).await;
    let head = client.reply_to_head().await;
    assert_eq!((shown.status, head.status), (200, 200));
    assert_eq!(head.header("content-length"), shown.body.len().to_string());
    // The next answer follows at once: no body came before it.
    assert_eq!(client.exchange(&request("GET", &path, "X-API-Key: x\r\n")).await.status, 401);
}

#[tokio::test]
async fn the_path_is_judged_before_the_method_and_the_method_before_the_key() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let not_found = r#"{"error":"Not found","message":"There is nothing at this address"}"#;
    let post_only = r#"{"error":"Method not allowed","message":"This endpoint only accepts POST requests","allowed_methods":["POST"]}"#;
    let get_only = r#"{"error":"Method not allowed","message":"This endpoint only accepts GET requests","allowed_methods":["GET","HEAD"]}"#;
    for (sent, status, body, allow) in [
        (request("POST", "/", ""), 404, not_found, ""),
        (request("OPTIONS", "/webhooks", ""), 404, not_found, ""),
        (request("DELETE", "/webhook/?x", ""), 405, post_only, "POST, OPTIONS"),
        (request("POST", "/calls/1", ""), 405, get_only, "GET, HEAD, OPTIONS"),
    ] {
        let reply = client.exchange(&sent).await;
        assert_eq!((reply.status, reply.body.as_str()), (status, body), "{sent}");
        assert_eq!(reply.header("allow"), allow, "{sent}");
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        assert!(!reply.header("x-request-id").is_empty());
    }
}

#[tokio::test]
async fn a_database_out_of_reach_is_answered_in_time_with_retry_after() {
    let (server, _mute) = Server::start_without_database(1).await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    let mut reader = server.connect().await;
    // With the clock stopped, a busy machine can't break the limit: time passes only while every task waits.
    pause();
    let begun = Instant::now();
    let sent = post(CALL);
    let read = request("GET", "/calls/1", &format!("X-API-Key: {KEY}\r\nContent-Length: 4097\r\n"));
    let (first, second, unread) =
        tokio::join!(first.exchange(&sent), second.exchange(&sent), reader.exchange(&read));
    assert!(begun.elapsed().as_secs() < 5);
    // There is room for one; the other one is refused at once.
    let (failed, refused) = if first.status == 500 { (first, second) } else { (second, first) };
    let database_error = r#"{"error":"Database error","message":"Failed to insert call log into database"}"#;
    assert_eq!((failed.status, failed.body.as_str()), (500, database_error));
    assert_eq!(failed.header("retry-after"), "5");
    let read_error = r#"{"error":"Database error","message":"Failed to read call log from database"}"#;
    assert_eq!((unread.status, unread.body.as_str()), (500, read_error));
    assert_eq!(unread.header("retry-after"), "5");
    assert_eq!(unread.header("connection"), "close", "its body was not read");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.json()["error"], "Service overloaded");
    assert_eq!(refused.header("retry-after"), "1");
    server.stop().await;
}
