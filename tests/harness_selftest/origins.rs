//! The origin serves what it is told to, also what no decent server would.

use harness::{Answer, Origin};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn answers_come_in_turn_and_are_counted() {
    let origin = Origin::start().await;
    origin.serve_after_failures("/call.wav", 500, 2, Answer::wav("RIFF"));
    let answers =
        [get(&origin, "/call.wav").await, get(&origin, "/call.wav").await, get(&origin, "/call.wav").await];
    let statuses = answers.map(|answer| answer.split(' ').nth(1).unwrap().to_owned());
    assert_eq!(statuses, ["500", "500", "200"]);
    assert!(get(&origin, "/call.wav").await.ends_with("\r\n\r\nRIFF"));
    assert_eq!(origin.count("/call.wav"), 4);
    assert_eq!(origin.seen("/call.wav")[0].header("x-test"), Some("yes"));
    assert!(get(&origin, "/elsewhere").await.starts_with("HTTP/1.1 404 "));
    assert_eq!(origin.count("/elsewhere"), 1);
}

#[tokio::test]
async fn a_truncated_body_claims_more_than_it_sends() {
    let origin = Origin::start().await;
    origin.serve("/cut.wav", Answer::Truncated { bytes: "0123456789".into(), sent: 4 });
    let answer = get(&origin, "/cut.wav").await;
    assert!(answer.contains("Content-Length: 10\r\n") && answer.ends_with("\r\n\r\n0123"), "{answer}");
}

#[tokio::test]
async fn a_stalled_body_neither_goes_on_nor_ends() {
    let origin = Origin::start().await;
    origin.serve("/stall.wav", Answer::Stalled { bytes: "0123456789".into(), sent: 4 });
    let mut stream = ask(&origin, "/stall.wav").await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"0123") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let quiet = tokio::time::timeout(std::time::Duration::from_millis(100), stream.read_u8()).await;
    assert!(quiet.is_err(), "the connection goes on, or ends");
}

#[tokio::test]
async fn redirects_resets_and_sizes_are_as_told() {
    let origin = Origin::start().await;
    origin.serve("/moved", Answer::Redirect { status: 302, to: origin.url("/call.wav") });
    origin.serve("/busy", Answer::RetryAfter { status: 429, value: "7".to_owned() });
    origin.serve("/reset", Answer::Reset);
    origin.serve("/large", Answer::Large { claimed: 200_000 });
    assert!(get(&origin, "/moved").await.contains(&format!("\r\nLocation: {}\r\n", origin.url("/call.wav"))));
    assert!(get(&origin, "/busy").await.contains("\r\nRetry-After: 7\r\n"));
    let large = get(&origin, "/large").await;
    assert_eq!(large.split_once("\r\n\r\n").unwrap().1.len(), 200_000);
    let reset = ask(&origin, "/reset").await.read_u8().await.unwrap_err();
    assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
}

async fn ask(origin: &Origin, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(origin.address()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Test: yes\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// The whole answer, head and body.
async fn get(origin: &Origin, path: &str) -> String {
    let mut answer = String::new();
    ask(origin, path).await.read_to_string(&mut answer).await.unwrap();
    answer
}
