//! The public listener under clients that misbehave, and under signals.

use std::net::SocketAddr;

use harness::{PATIENCE, Signal, TEST_KEY};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::{Up, call, client};

async fn connect(up: &mut Up) -> TcpStream {
    let address: SocketAddr = up.process.public_socket().await;
    TcpStream::connect(address).await.unwrap()
}

/// Everything that the server sends until it closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut received = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut received));
    match read.await.expect("the server keeps the connection") {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    String::from_utf8(received).unwrap()
}

#[tokio::test]
async fn a_client_that_sends_nothing_or_drips_is_dropped() {
    let mut up = Up::start().await;
    let beginnings = ["", "P", "PRI * HTTP/2.0\r\n", "POST /webhook.php HTTP/1.1\r\nHost: x\r\n"];
    let mut clients = Vec::new();
    for beginning in beginnings {
        let mut stream = connect(&mut up).await;
        stream.write_all(beginning.as_bytes()).await.unwrap();
        clients.push(tokio::spawn(async move {
            rest(&mut stream).await;
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(
        up.post(call(&json!({})).to_string()).await.status,
        201,
        "others are served meanwhile and after"
    );
}

/// Goal: connections that send nothing keep nobody out. Method: more of them than either listener holds.
#[tokio::test]
async fn idle_connections_make_room_on_both_listeners() {
    let mut up = Up::start_with(&[("CALLVINE_MAX_CONNECTIONS", "50")]).await;
    let admin = up.process.admin().await;
    let admin_socket = admin.strip_prefix("http://").unwrap().to_owned();
    let (mut idle, mut idle_admin) = (Vec::new(), Vec::new());
    for _ in 0..120 {
        idle.push(connect(&mut up).await);
    }
    for _ in 0..300 {
        idle_admin.push(TcpStream::connect(&admin_socket).await.unwrap());
    }
    assert_eq!(up.post(call(&json!({})).to_string()).await.status, 201);
    let health = up.client.get(format!("{admin}/healthz")).send().await.unwrap();
    assert_eq!(health.status(), 200);
    // The first to come was the first to go.
    assert_eq!(rest(&mut idle[0]).await, "");
    assert_eq!(rest(&mut idle_admin[0]).await, "");
    let metrics = up.client.get(format!("{admin}/metrics")).send().await.unwrap().text().await.unwrap();
    let ended = r#"callvine_http_connections_ended_total{listener="public",cause="idle"}"#;
    assert!(metrics.contains(ended), "{metrics}");
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_answered_408() {
    let mut up = Up::start().await;
    let mut stream = connect(&mut up).await;
    let head = format!(
        "POST /webhook.php HTTP/1.1\r\nHost: x\r\nX-API-Key: {TEST_KEY}\r\nContent-Length: 100\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"error\""), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_answered_413_without_being_read() {
    let mut up = Up::start().await;
    let headers = format!("POST /webhook.php HTTP/1.1\r\nHost: x\r\nX-API-Key: {TEST_KEY}\r\n");
    // By its length alone, with nothing of it sent.
    let mut stream = connect(&mut up).await;
    stream.write_all(format!("{headers}Content-Length: 1000000000\r\n\r\n").as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains(r#"{"error":"Payload too large","#),
        "{answer}"
    );
    // By what arrives, with no length told: an endless body must not be waited for.
    let mut stream = connect(&mut up).await;
    stream.write_all(format!("{headers}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    for _ in 0..20 {
        // The answer may come in the middle, and the connection may be closed then.
        if stream.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // To the byte: 64 KiB is not too large.
    let padded = |size: usize| {
        let body = call(&json!({})).to_string();
        format!("{}{body}", " ".repeat(size - body.len()))
    };
    assert_eq!(up.post(padded(64 * 1024)).await.status, 201);
    assert_eq!(up.post(padded(64 * 1024 + 1)).await.status, 413);
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let mut up = Up::start().await;
    let mut stream = connect(&mut up).await;
    let body = call(&json!({})).to_string();
    let length = body.len();
    let request = format!(
        "POST /webhook HTTP/1.1\r\nHost: x\r\nX-API-Key: {TEST_KEY}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let refused = "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    let last = request.replace("Host: x", "Host: x\r\nConnection: close");
    stream.write_all(format!("{request}{refused}{last}").as_bytes()).await.unwrap();
    let answers = rest(&mut stream).await;
    assert_eq!(answers.matches("HTTP/1.1 201 ").count(), 2, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 401 ").count(), 1, "{answers}");
}

#[tokio::test]
async fn a_termination_in_the_middle_of_a_burst_answers_what_it_has_taken_and_exits_0() {
    let mut up = Up::start().await;
    let (url, client) = (up.url.clone(), client());
    let posts: Vec<_> = (0..100)
        .map(|_| {
            let request = client
                .post(format!("{url}/webhook.php"))
                .header("X-API-Key", TEST_KEY)
                .body(call(&json!({})).to_string());
            tokio::spawn(async move { request.send().await.map(|answer| answer.status().as_u16()) })
        })
        .collect();
    up.process.signal(Signal::TERM);
    let mut acknowledged = 0;
    for post in posts {
        match post.await.unwrap() {
            Ok(201) => acknowledged += 1,
            Ok(status) => panic!("answered {status}"),
            // Not accepted any more: the provider sends it again.
            Err(_) => {}
        }
    }
    let directory = up.process.directory().to_owned();
    let finished = up.process.wait().await;
    finished.assert_code(0);
    let database = format!("sqlite://{}/callvine-data/callvine.db", directory.display());
    let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect(&database).await.unwrap();
    let stored: i64 =
        sqlx::query_scalar("select count(*) from call_logs").fetch_one(&mut connection).await.unwrap();
    assert!(stored >= acknowledged, "{stored} stored, {acknowledged} acknowledged");
}
