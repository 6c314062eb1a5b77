//! Keys with a rate. That a caller who waits as long as it is told is let through is tested in [`crate::rate`].

use std::time::Duration;

use callvine_shared::api_key::Role;
use callvine_shared::store::NewApiKey;
use chrono::Utc;

use super::client::request;
use super::keys::{new_key, post_with, server_with};
use super::{CALL, eventually};

/// One call in a hundred seconds: no test lasts so long.
const SLOW: Option<f64> = Some(0.01);

#[tokio::test]
async fn a_key_past_its_rate_is_refused_before_its_body_and_told_when_to_come_again() {
    let (key, new) = new_key();
    let server = server_with(&[NewApiKey { rate_per_second: SLOW, ..new }]).await;
    let mut client = server.connect().await;
    assert_eq!(post_with(&mut client, key.reveal(), CALL).await.status, 201);
    let refused = post_with(&mut client, key.reveal(), CALL).await;
    assert_eq!(refused.status, 429);
    assert_eq!(
        refused.body,
        r#"{"error":"Too many requests","message":"This API key has sent calls faster than its rate allows, please wait as Retry-After says"}"#
    );
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=100).contains(&wait), "{wait}");
    // Reading is not limited.
    for _ in 0..20 {
        let read = request("GET", "/calls/999999", &format!("X-API-Key: {}\r\n", key.reveal()));
        assert_eq!(client.exchange(&read).await.status, 404);
    }
    let large = format!("X-API-Key: {}\r\nContent-Length: 99999999\r\n", key.reveal());
    let refused = client.exchange(&request("POST", "/webhook", &large)).await;
    assert_eq!((refused.status, refused.header("connection")), (429, "close"), "its body is not read");
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_call_that_is_refused_for_its_body_counts_too() {
    let (key, new) = new_key();
    let server = server_with(&[NewApiKey { rate_per_second: SLOW, ..new }]).await;
    let mut client = server.connect().await;
    assert_eq!(post_with(&mut client, key.reveal(), "no JSON").await.status, 400);
    assert_eq!(post_with(&mut client, key.reveal(), CALL).await.status, 429);
}

#[tokio::test]
async fn keys_are_limited_each_for_itself_and_an_analysts_post_is_forbidden_however_many() {
    let (first, of_first) = new_key();
    let (second, of_second) = new_key();
    let (analyst, new) = new_key();
    let keys = [
        NewApiKey { rate_per_second: SLOW, ..of_first },
        NewApiKey { rate_per_second: SLOW, ..of_second },
        NewApiKey { rate_per_second: SLOW, role: Role::Analyst, ..new },
    ];
    let server = server_with(&keys).await;
    let mut client = server.connect().await;
    for (key, statuses) in [(&first, [201, 429]), (&second, [201, 429]), (&analyst, [403, 403])] {
        for status in statuses {
            assert_eq!(post_with(&mut client, key.reveal(), CALL).await.status, status);
        }
    }
}

#[tokio::test]
async fn a_rate_goes_on_when_the_keys_are_read_again() {
    let (key, new) = new_key();
    let server = server_with(&[NewApiKey { rate_per_second: SLOW, ..new }]).await;
    let keeping =
        tokio::spawn(server.keys.clone().keep_current(server.store.clone(), server.shutdown.clone()));
    let mut client = server.connect().await;
    assert_eq!(post_with(&mut client, key.reveal(), CALL).await.status, 201);
    let (second, of_second) = new_key();
    server.store.create_api_key(&of_second, Utc::now()).await.unwrap();
    eventually(Duration::from_secs(30), "the keys were read again", async || {
        server.keys.find(second.reveal().as_bytes(), Utc::now()).is_some()
    })
    .await;
    assert_eq!(post_with(&mut client, key.reveal(), CALL).await.status, 429);
    drop(client);
    server.stop().await;
    keeping.await.unwrap();
}
