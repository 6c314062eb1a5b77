//! HTTP/2 by prior knowledge.

use bytes::Bytes;
use http::{Request, StatusCode};
use tokio::net::TcpStream;

use super::{CALL, KEY, Server};

pub(super) type Sender = h2::client::SendRequest<Bytes>;

async fn connect(server: &Server) -> Sender {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    // Ends with the test's runtime.
    tokio::spawn(connection);
    sender
}

async fn exchange(
    sender: &Sender,
    request: Request<()>,
    body: Option<Bytes>,
) -> (http::response::Parts, Bytes) {
    let mut sender = sender.clone().ready().await.unwrap();
    let (answer, mut stream) = sender.send_request(request, body.is_none()).unwrap();
    if let Some(body) = body {
        stream.send_data(body, true).unwrap();
    }
    let (head, mut body) = answer.await.unwrap().into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        bytes.extend_from_slice(&data.unwrap());
    }
    (head, bytes.into())
}

/// A client that lets the server send so many bytes of each answer.
pub(super) async fn connect_with_window(
    server: &Server,
    bytes: u32,
) -> (Sender, impl Future<Output = Result<(), h2::Error>> + use<>) {
    let stream = TcpStream::connect(server.address).await.unwrap();
    h2::client::Builder::new().initial_window_size(bytes).handshake(stream).await.unwrap()
}

pub(super) fn post() -> Request<()> {
    let request = Request::post("http://callvine/webhook.php").header("x-api-key", KEY);
    request.body(()).unwrap()
}

#[tokio::test]
async fn calls_are_stored_over_one_connection_at_once() {
    let server = Server::start().await;
    let sender = connect(&server).await;
    let posts = (0..50).map(|_| exchange(&sender, post(), Some(CALL.into())));
    for (head, body) in futures_util::future::join_all(posts).await {
        assert_eq!(head.status, StatusCode::CREATED);
        assert!(body.starts_with(b"{\"success\":true"));
        assert!(head.headers.contains_key("x-request-id"));
    }
    drop(sender);
    server.stop().await;
}

#[tokio::test]
async fn a_large_body_is_refused_and_the_connection_lives() {
    let server = Server::start().await;
    let sender = connect(&server).await;
    let (head, body) = exchange(&sender, post(), Some(vec![b' '; 1_000_000].into())).await;
    assert_eq!(head.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(body.starts_with(b"{\"error\":\"Payload too large\""));
    assert!(!head.headers.contains_key("connection"));
    let (head, _body) = exchange(&sender, post(), Some(CALL.into())).await;
    assert_eq!(head.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_head_request_has_no_body() {
    let server = Server::start().await;
    let sender = connect(&server).await;
    let (head, body) =
        exchange(&sender, Request::head("http://callvine/calls/1").body(()).unwrap(), None).await;
    assert_eq!(head.status, StatusCode::UNAUTHORIZED);
    assert!(body.is_empty());
    assert!(head.headers["content-length"].to_str().unwrap().parse::<u32>().unwrap() > 0);
}
