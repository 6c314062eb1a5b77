//! Requests that are not quite HTTP, or not quite JSON, and what they are answered. Bytes that are no HTTP are answered by
//! hyper: a status without a body, and the end of the connection.

use super::client::{post, request};
use super::{CALL, KEY, Server};

/// An answer of ours to a request without a body or a known path shows that its head was accepted.
const ACCEPTED: u16 = 404;

async fn assert_answers(cases: &[(&str, String, u16)]) {
    let server = Server::start().await;
    for (name, sent, status) in cases {
        let mut client = server.connect().await;
        let reply = client.exchange(sent).await;
        assert_eq!(reply.status, *status, "{name}: {reply:?}");
        if reply.body.is_empty() {
            assert!(client.is_closed().await, "{name}: not ours, so the connection ends");
        } else {
            assert_eq!(reply.json()["error"].is_string(), *status >= 400, "{name}");
        }
    }
}

/// A request for nothing with these lines as its headers.
fn lines(headers: &str) -> String {
    format!("GET / HTTP/1.1\r\n{headers}\r\n")
}

fn case(name: &'static str, status: u16, sent: impl Into<String>) -> (&'static str, String, u16) {
    (name, sent.into(), status)
}

#[tokio::test]
async fn a_head_is_judged_strictly() {
    let many = |count: usize| lines(&format!("Host: x\r\n{}", "A: b\r\n".repeat(count - 1)));
    assert_answers(&[
        case("one host", ACCEPTED, lines("Host: x\r\n")),
        case("an empty host", ACCEPTED, lines("Host:\r\n")),
        case("no host", 400, lines("")),
        case("two hosts", 400, lines("Host: x\r\nHost: y\r\n")),
        case("the same host twice", 400, lines("Host: x\r\nhost: x\r\n")),
        case("a host that is none", 400, lines("Host: x/y\r\n")),
        case("no host in HTTP/1.0", ACCEPTED, "GET / HTTP/1.0\r\n\r\n"),
        // RFC 9112, section 2.2, lets a server take a lone LF for the end of a line, and hyper does.
        case("lines that end in LF alone", ACCEPTED, "GET / HTTP/1.1\nHost: x\n\n"),
        case("CR within a line", 400, lines("Host: x\r\nA: b\rc\r\n")),
        case("NUL in a value", 400, lines("Host: x\r\nA: b\0c\r\n")),
        case("a blank before the colon", 400, lines("Host: x\r\nA : b\r\n")),
        case("a folded line", 400, lines("Host: x\r\nA: b\r\n c\r\n")),
        case("a line without a colon", 400, lines("Host: x\r\nA\r\n")),
        case("a header without a name", 400, lines("Host: x\r\n: b\r\n")),
        case("100 headers", ACCEPTED, many(100)),
        case("101 headers", 431, many(101)),
        case("a head of 30,000 bytes", ACCEPTED, lines(&format!("Host: x\r\nA: {}\r\n", "b".repeat(30_000)))),
        case("a head of 33,000 bytes", 431, lines(&format!("Host: x\r\nA: {}\r\n", "b".repeat(33_000)))),
        case("a head without end", 431, format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(100_000))),
        case("a target without end", 431, format!("GET /{}", "b".repeat(100_000))),
        case("an unknown version", 400, "GET / HTTP/1.2\r\nHost: x\r\n\r\n"),
        case("no version", 400, "GET /\r\n\r\n"),
        case("a method that is none", 400, "G@T / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ])
    .await;
}

#[tokio::test]
async fn targets_may_have_every_form() {
    let call = |target: &str| post(CALL).replacen("/webhook.php", target, 1);
    assert_answers(&[
        case("absolute", 201, call("http://elsewhere.example/webhook.php")),
        case("absolute, with a port and a query", 201, call("http://localhost:8080/webhook?a=b")),
        case("absolute, another path", 404, call("http://localhost/")),
        case("a fragment", 201, call("/webhook#a")),
        case("asterisk", 404, request("OPTIONS", "*", "")),
        case("authority", 404, request("CONNECT", "localhost:80", "")),
        case("a name alone", 404, request("GET", "webhook", "")),
        case("a dot segment is not resolved", 404, call("/x/../webhook")),
        case("an encoded letter is not decoded", 404, call("/%77ebhook")),
    ])
    .await;
}

#[tokio::test]
async fn a_body_ends_where_its_framing_says() {
    let length = CALL.len();
    let with = |headers: &str, body: &str| {
        request("POST", "/webhook", &format!("X-API-Key: {KEY}\r\n{headers}")) + body
    };
    let chunked = format!("{length:x}\r\n{CALL}\r\n0\r\n\r\n");
    let same = format!("Content-Length: {length}\r\n").repeat(2);
    assert_answers(&[
        case("the same length twice", 201, with(&same, CALL)),
        case("two lengths", 400, with(&format!("Content-Length: {length}\r\nContent-Length: 5\r\n"), CALL)),
        case("two lengths in one", 400, with(&format!("Content-Length: {length}, 5\r\n"), CALL)),
        case("a signed length", 400, with(&format!("Content-Length: +{length}\r\n"), CALL)),
        case("a negative length", 400, with("Content-Length: -1\r\n", CALL)),
        case("a length beyond 64 bits", 400, with("Content-Length: 99999999999999999999\r\n", CALL)),
        case("no body", 400, with("", "")),
        case("chunks", 201, with("Transfer-Encoding: chunked\r\n", &chunked)),
        case("unknown coding", 400, with("Transfer-Encoding: gzip\r\n", &chunked)),
        case("chunked is not last", 400, with("Transfer-Encoding: chunked, gzip\r\n", &chunked)),
        case("a chunk of no size", 400, with("Transfer-Encoding: chunked\r\n", "x\r\n")),
        case("a size beyond 64 bits", 400, with("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n")),
        case("a chunk that goes on", 400, with("Transfer-Encoding: chunked\r\n", "1\r\n{}\r\n0\r\n\r\n")),
    ])
    .await;
}

/// A proxy that goes by the length would take the rest for another request (RFC 9112, section 6.1).
#[tokio::test]
async fn a_length_beside_chunks_is_ignored_and_ends_the_connection() {
    let server = Server::start().await;
    let chunked = format!("{:x}\r\n{CALL}\r\n0\r\n\r\n", CALL.len());
    for headers in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ] {
        let mut client = server.connect().await;
        let headers = format!("X-API-Key: {KEY}\r\n{headers}");
        client.send(&(request("POST", "/webhook", &headers) + &chunked + &post(CALL))).await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.header("connection")), (201, "close"));
        assert!(client.is_closed().await, "what follows is not answered");
    }
}

#[tokio::test]
async fn json_has_its_bounds() {
    let call_with = |name: &str, value: &str| CALL.replacen('{', &format!(r#"{{"{name}":{value},"#), 1);
    let nested = |depth| call_with("x", &format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    let members = r#""x":0,"#.repeat(10_000);
    let with_members = CALL.replacen('{', &format!("{{{members}"), 1);
    let handled_by = |value: &str| CALL.replacen(r#""Agent Smith""#, value, 1);
    assert_answers(&[
        // The object itself is the first level.
        case("128 deep", 201, post(&nested(127))),
        case("129 deep", 400, post(&nested(128))),
        case("10,000 deep", 400, post(&nested(10_000))),
        case("10,000 members", 201, post(&with_members)),
        case("a number beyond all bounds", 201, post(&call_with("x", &format!("1e{}", "9".repeat(1000))))),
        case("an integer of 255 digits", 201, post(&handled_by(&"9".repeat(255)))),
        case("an integer of 256 digits", 400, post(&handled_by(&"9".repeat(256)))),
        case("a number with a fraction", 400, post(&handled_by("1.5"))),
        case("a negative number", 400, post(&handled_by("-1"))),
    ])
    .await;
}

#[tokio::test]
async fn requests_are_refused_unread_while_too_many_are_in_flight() {
    let server = Server::start_holding(super::ROOMY, 2).await;
    let sent = post(CALL);
    let (first, last) = sent.split_at(sent.len() - 1);
    let (mut one, mut two, mut third) =
        (server.connect().await, server.connect().await, server.connect().await);
    for client in [&mut one, &mut two] {
        let head = first.replacen("X-API-Key", "Expect: 100-continue\r\nX-API-Key", 1);
        // That it is told to go on shows that its body is being read.
        assert_eq!(client.exchange(&head).await.status, 100);
    }
    let head = request("POST", "/webhook", &format!("X-API-Key: {KEY}\r\nContent-Length: 60000\r\n"));
    let reply = third.exchange(&head).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, "1"));
    assert_eq!(reply.json()["error"], "Service overloaded");
    assert!(third.is_closed().await, "its body is not read");
    assert_eq!(one.exchange(last).await.status, 201);
    // Its place is free again.
    assert_eq!(one.exchange(&sent).await.status, 201);
    assert_eq!(two.exchange(last).await.status, 201);
}
