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
async fn without_a_token_only_names_of_this_machine_are_answered() {
    let (_directory, store) = database().await;
    let open = start_admin(store.clone(), None, &CancellationToken::new()).await;
    let guarded = start_admin(store, Some("secret"), &CancellationToken::new()).await;
    for (address, host, status) in [
        (open, "localhost:8081", 200),
        (open, "127.0.0.1:8081", 200),
        (open, "[::1]", 200),
        (open, "evil.example", 421),
        (guarded, "callvine.internal", 200),
    ] {
        for path in ["/healthz", "/metrics"] {
            let sent = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer secret\r\n\r\n");
            let reply = Client::connect(address).await.exchange(&sent).await;
            assert_eq!(reply.status, status, "{sent}");
            if status == 421 {
                assert_eq!(reply.json()["error"], "Misdirected request");
            }
        }
    }
    for (head, status) in
        [("HTTP/1.1\r\n", 400), ("HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400), ("HTTP/1.0\r\n", 200)]
    {
        let sent = format!("GET /healthz {head}\r\n");
        assert_eq!(Client::connect(open).await.exchange(&sent).await.status, status, "{sent}");
    }
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
