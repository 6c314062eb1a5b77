//! Newcomers to a listener of which every place is taken.

use tokio::time::{Instant, pause};
use tokio_util::sync::CancellationToken;

use super::client::{Client, post, request};
use super::http2::{connect_with_window, post as post_http2};
use super::{CALL, Server, database, start_admin};
use crate::ConnectionLimits;

async fn start(max: usize) -> Server {
    Server::start_holding(ConnectionLimits { max, max_per_address: max }, 100).await
}

#[tokio::test]
async fn the_longest_idle_connection_makes_room_for_a_newcomer() {
    let server = start(3).await;
    let (mut silent, mut first, mut second) =
        (server.connect().await, server.connect().await, server.connect().await);
    // The second has been idle longer, and the silent one since it came.
    for client in [&mut second, &mut first] {
        assert_eq!(client.exchange(&post(CALL)).await.status, 201);
    }
    let mut newcomers = Vec::new();
    for leaves in [&mut silent, &mut second] {
        let mut newcomer = server.connect().await;
        assert_eq!(newcomer.exchange(&post(CALL)).await.status, 201);
        assert!(leaves.is_closed().await);
        newcomers.push(newcomer);
    }
    assert_eq!(first.exchange(&post(CALL)).await.status, 201);
}

#[tokio::test]
async fn connections_that_are_within_a_request_keep_their_places() {
    let server = start(3).await;
    let sent = post(CALL);
    let (mut in_head, mut in_body, mut last) =
        (server.connect().await, server.connect().await, server.connect().await);
    in_head.send(&sent[..20]).await;
    in_body.send(&sent[..sent.len() - 1]).await;
    // Its answer shows that the others have been read, and what follows is half a head.
    assert_eq!(last.exchange(&sent).await.status, 201);
    last.send("POST ").await;
    let mut newcomer = server.connect().await;
    newcomer.send(&sent).await;
    assert_eq!(in_body.exchange(&sent[sent.len() - 1..]).await.status, 201);
    // It is idle now, and makes room.
    assert_eq!(newcomer.reply().await.status, 201);
    assert!(in_body.is_closed().await);
    assert_eq!(in_head.exchange(&sent[20..]).await.status, 201);
    assert_eq!(last.exchange(&sent[5..]).await.status, 201);
}

#[tokio::test]
async fn an_idle_http2_connection_makes_room_too() {
    let server = start(1).await;
    let (mut sender, connection) = connect_with_window(&server, 65_535).await;
    let connection = tokio::spawn(connection);
    let (answer, mut body) = sender.send_request(post_http2(), false).unwrap();
    body.send_data(CALL.into(), true).unwrap();
    let mut answer = answer.await.unwrap().into_body();
    while let Some(data) = answer.data().await {
        data.unwrap();
    }
    assert_eq!(server.connect().await.exchange(&post(CALL)).await.status, 201);
    // Whether it notices an error depends on what it was about to send.
    drop(connection.await.unwrap());
}

#[tokio::test]
async fn an_http2_client_that_makes_no_room_for_answers_is_let_go() {
    let server = start(10).await;
    let (mut sender, connection) = connect_with_window(&server, 0).await;
    let connection = tokio::spawn(connection);
    let (answer, mut body) = sender.send_request(post_http2(), false).unwrap();
    body.send_data(CALL.into(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 201, "its head needs no room");
    pause();
    let begun = Instant::now();
    drop(connection.await.unwrap());
    let elapsed = begun.elapsed().as_secs();
    assert!((29..=31).contains(&elapsed), "{elapsed}");
}

#[tokio::test]
async fn the_admin_listener_answers_while_others_idle_on_it() {
    let (_directory, store) = database().await;
    let address = start_admin(store, None, &CancellationToken::new()).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(Client::connect(address).await);
    }
    let reply = Client::connect(address).await.exchange(&request("GET", "/healthz", "")).await;
    assert_eq!(reply.status, 200);
    assert!(idle[0].is_closed().await);
}
