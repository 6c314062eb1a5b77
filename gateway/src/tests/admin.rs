//! The admin listener.

use callvine_shared::store::Store;
use tokio_util::sync::CancellationToken;

use super::client::{Client, request};
use super::{database, start_admin};

#[tokio::test]
async fn probes_need_no_token_and_the_rest_does() {
    let (_directory, store) = database().await;
    let mut client =
        Client::connect(start_admin(store, Some("secret"), &CancellationToken::new()).await).await;
    let reply = client.exchange(&request("GET", "/healthz", "")).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, r#"{"status":"ok"}"#));
    let reply = client.exchange(&request("GET", "/readyz", "")).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, r#"{"database":"ok"}"#));
    for headers in ["", "Authorization: Bearer wrong\r\n", "Authorization: secret\r\n"] {
        for path in ["/metrics", "/", "/nothing"] {
            let reply = client.exchange(&request("GET", path, headers)).await;
            assert_eq!(reply.status, 401, "{path} {headers}");
            assert_eq!(reply.header("www-authenticate"), "Bearer");
        }
    }
    let with_token = "Authorization: Bearer secret\r\n";
    let reply = client.exchange(&request("GET", "/metrics", with_token)).await;
    assert_eq!(reply.status, 200);
    assert!(reply.header("content-type").starts_with("text/plain; version=0.0.4"));
    assert_eq!(client.exchange(&request("GET", "/nothing", with_token)).await.status, 404);
    assert_eq!(client.exchange(&request("POST", "/healthz", "")).await.status, 405);
}

#[tokio::test]
async fn a_database_that_is_away_makes_it_unready_but_not_dead() {
    let store = Store::connect("postgres://nobody:password@127.0.0.1:1/none").await.unwrap();
    let mut client = Client::connect(start_admin(store, None, &CancellationToken::new()).await).await;
    let reply = client.exchange(&request("GET", "/readyz", "")).await;
    assert_eq!(reply.status, 503);
    assert_ne!(reply.json()["database"], "ok");
    assert!(!reply.body.contains("password"));
    assert_eq!(client.exchange(&request("GET", "/healthz", "")).await.status, 200);
}

#[tokio::test]
async fn a_process_that_is_about_to_end_is_not_ready() {
    let (_directory, store) = database().await;
    let draining = CancellationToken::new();
    let mut client = Client::connect(start_admin(store, None, &draining).await).await;
    assert_eq!(client.exchange(&request("GET", "/readyz", "")).await.status, 200);
    draining.cancel();
    let reply = client.exchange(&request("GET", "/readyz", "")).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["database"], "ok");
}
