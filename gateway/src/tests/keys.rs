//! Keys that are made, used, replaced and revoked while the gateway runs, and the rights that they give.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use callvine_shared::api_key::{ApiKey, Environment, Role};
use callvine_shared::store::{NewApiKey, Store, Successor};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client::{Client, Reply, request};
use super::{CALL, KEY, ROOMY, Server, database, eventually};
use crate::KeyRing;

/// A key counts everywhere within this time.
const PROMISED: Duration = Duration::from_secs(5);

/// A key of `acme` for live calls, with no limits.
pub(super) fn new_key() -> (ApiKey, NewApiKey) {
    let key = ApiKey::generate(Environment::Live).unwrap();
    let new = NewApiKey {
        client: "acme".to_owned(),
        environment: Environment::Live,
        prefix: key.prefix().to_owned(),
        digest: key.digest(),
        role: Role::Provider,
        expires_at: None,
        rate_per_second: None,
        dedupe: None,
    };
    (key, new)
}

/// A server whose keys are these, beside the published ones.
pub(super) async fn server_with(keys: &[NewApiKey]) -> Server {
    let (directory, store) = database().await;
    for key in keys {
        store.create_api_key(key, Utc::now()).await.unwrap();
    }
    Server::start_with(directory, store.clone(), store, ROOMY, 100).await
}

pub(super) async fn post_with(client: &mut Client, key: &str, body: &str) -> Reply {
    let headers = format!("X-API-Key: {key}\r\nContent-Length: {}\r\n", body.len());
    client.exchange(&(request("POST", "/webhook", &headers) + body)).await
}

async fn get_with(client: &mut Client, key: &str, path: &str) -> Reply {
    client.exchange(&request("GET", path, &format!("X-API-Key: {key}\r\n"))).await
}

async fn status_with(server: &Server, key: &ApiKey) -> u16 {
    post_with(&mut server.connect().await, key.reveal(), "").await.status
}

#[tokio::test]
async fn a_key_counts_soon_after_it_is_made_and_until_soon_after_it_is_revoked() {
    let server = Server::start().await;
    let keeping =
        tokio::spawn(server.keys.clone().keep_current(server.store.clone(), server.shutdown.clone()));
    let (key, new) = new_key();
    assert_eq!(status_with(&server, &key).await, 401);
    let id = server.store.create_api_key(&new, Utc::now()).await.unwrap();
    // The key is accepted, its body is not.
    eventually(PROMISED, "the new key counts", async || status_with(&server, &key).await == 400).await;
    eventually(PROMISED, "its use is recorded", async || {
        server.store.api_keys().await.unwrap().first().unwrap().last_used_at.is_some()
    })
    .await;
    // A key that takes its place ends it.
    let (second, NewApiKey { prefix, digest, .. }) = new_key();
    let successor = Successor { prefix, digest, expires_at: None };
    let now = Utc::now();
    let second_id = server.store.replace_api_key(id, &successor, now, now).await.unwrap().unwrap();
    eventually(PROMISED, "the replaced key is refused", async || status_with(&server, &key).await == 401)
        .await;
    assert_eq!(status_with(&server, &second).await, 400);
    assert!(server.store.revoke_api_key(second_id, Utc::now()).await.unwrap());
    eventually(PROMISED, "the revoked key is refused", async || status_with(&server, &second).await == 401)
        .await;
    server.stop().await;
    keeping.await.unwrap();
}

#[tokio::test]
async fn a_key_expires_to_the_second_without_being_read_again() {
    let (_directory, store) = database().await;
    let (key, new) = new_key();
    let expires_at: DateTime<Utc> = "2026-11-27T12:00:00Z".parse().unwrap();
    let new = NewApiKey { expires_at: Some(expires_at), ..new };
    store.create_api_key(&new, expires_at - TimeDelta::days(90)).await.unwrap();
    let ring = KeyRing::load(&store, true).await.unwrap();
    store.close().await;
    let found = |key: &str, at| ring.find(key.as_bytes(), at).is_some();
    let last = expires_at - TimeDelta::milliseconds(1);
    assert!(found(key.reveal(), last) && !found(key.reveal(), expires_at));
    assert!(
        !found(KEY, last) && found(KEY, expires_at),
        "a published key is refused while a live one counts"
    );
}

#[tokio::test]
async fn a_hundred_thousand_wrong_keys_ask_the_database_for_nothing() {
    const KEYS: usize = 100_000;
    const AT_ONCE: usize = 200;
    // The database of the calls never answers, and that of the keys is closed.
    let (server, mute) = Server::start_without_database(1).await;
    server.store.close().await;
    let Client { mut stream, .. } = server.connect().await;
    let mut numbers = 0..KEYS;
    for _ in 0..KEYS / AT_ONCE {
        let sent: String = numbers
            .by_ref()
            .take(AT_ONCE)
            .map(|number| {
                let key = match number % 4 {
                    0 => format!("wrong-{number}"),
                    1 => format!("cv_live_{number:038}"),
                    // The form of an old key: it is looked up.
                    2 => format!("cv_live_{number:040x}"),
                    _ => ApiKey::generate(Environment::Live).unwrap().reveal().to_owned(),
                };
                request("POST", "/webhook", &format!("X-API-Key: {key}\r\n"))
            })
            .collect();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut received = Vec::new();
        while String::from_utf8_lossy(&received).matches("HTTP/1.1 401 ").count() < AT_ONCE {
            assert!(stream.read_buf(&mut received).await.unwrap() > 0);
        }
        assert_eq!(String::from_utf8_lossy(&received).matches("HTTP/1.1 ").count(), AT_ONCE);
    }
    assert!(numbers.is_empty());
    let mute = mute.into_std().unwrap();
    assert_eq!(mute.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody has come to the database");
}

#[tokio::test]
async fn an_analyst_reads_every_clients_calls_and_posts_none() {
    let (provider, providers) = new_key();
    let (analyst, new) = new_key();
    let analysts = NewApiKey { client: "analysts".to_owned(), role: Role::Analyst, ..new };
    let server = server_with(&[providers, analysts]).await;
    let mut client = server.connect().await;
    let posted = post_with(&mut client, provider.reveal(), CALL).await;
    assert_eq!(posted.status, 201);
    let path = posted.header("location").to_owned();
    let (own, other) = (
        get_with(&mut client, provider.reveal(), &path).await,
        get_with(&mut client, analyst.reveal(), &path).await,
    );
    assert_eq!((own.status, other.status), (200, 200));
    assert_eq!(own.body, other.body);
    assert_eq!(own.json()["data"]["env"], "live");
    let id = own.json()["data"]["id"].clone();
    let shown = get_with(&mut client, analyst.reveal(), &format!("/recording.php?call_id={id}")).await;
    assert_eq!(shown.body, own.body);
    assert_eq!(get_with(&mut client, analyst.reveal(), "/calls/999999").await.status, 404);

    let refused = post_with(&mut client, analyst.reveal(), CALL).await;
    let forbidden = r#"{"error":"Forbidden","message":"The key of an analyst can't post calls"}"#;
    assert_eq!((refused.status, refused.body.as_str()), (403, forbidden));
    let unread =
        request("POST", "/webhook", &format!("X-API-Key: {}\r\nContent-Length: 60000\r\n", analyst.reveal()));
    let refused = client.exchange(&unread).await;
    assert_eq!((refused.status, refused.header("connection")), (403, "close"), "before its body comes");
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn another_clients_call_answers_like_none() {
    let (first, of_first) = new_key();
    let (second, new) = new_key();
    let server = server_with(&[of_first, NewApiKey { client: "other".to_owned(), ..new }]).await;
    let mut client = server.connect().await;
    let path = post_with(&mut client, first.reveal(), CALL).await.header("location").to_owned();
    assert_eq!(get_with(&mut client, first.reveal(), &path).await.status, 200);
    let id: i64 = path.rsplit('/').next().unwrap().parse().unwrap();
    let plain = |reply: Reply| {
        let mut headers = reply.headers;
        // These two differ between any two answers.
        assert!(headers.remove("x-request-id").is_some() && headers.remove("date").is_some());
        (reply.status, headers, reply.body)
    };
    let others = plain(get_with(&mut client, second.reveal(), &path).await);
    let none = plain(get_with(&mut client, second.reveal(), &format!("/calls/{}", id + 1)).await);
    assert_eq!(others.0, 404);
    assert_eq!(others, none);
    let others = plain(get_with(&mut client, second.reveal(), &format!("/recording.php?call_id={id}")).await);
    assert_eq!(others, none);
}

#[tokio::test]
async fn the_published_keys_are_refused_through_a_proxy() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let unknown = post_with(&mut client, "unknown", CALL).await.body;
    for header in ["Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.1", "Via: 1.1 proxy", "via:"] {
        let headers = format!("X-API-Key: {KEY}\r\n{header}\r\n");
        for sent in [request("POST", "/webhook", &headers), request("GET", "/calls/1", &headers)] {
            let refused = client.exchange(&sent).await;
            assert_eq!((refused.status, &refused.body), (401, &unknown), "{header}");
        }
    }
    let other = format!("X-API-Key: {KEY}\r\nX-Real-IP: 127.0.0.1\r\n");
    assert_eq!(client.exchange(&request("GET", "/calls/1", &other)).await.status, 404);
    // A key of one's own is none of a proxy's business.
    let (key, new) = new_key();
    let server = server_with(&[new]).await;
    let headers = format!("X-API-Key: {}\r\nVia: 1.1 proxy\r\n", key.reveal());
    let shown = server.connect().await.exchange(&request("GET", "/calls/1", &headers)).await;
    assert_eq!(shown.status, 404);
}

#[tokio::test]
async fn the_published_keys_are_refused_while_there_is_a_live_key_or_their_client_has_had_one() {
    let (_, live) = new_key();
    let test = NewApiKey { environment: Environment::Test, ..live.clone() };
    let now = Utc::now();
    let expired = NewApiKey { expires_at: Some(now - TimeDelta::seconds(1)), ..live.clone() };
    let of_production = NewApiKey { client: "production".to_owned(), ..test.clone() };
    for (case, new, revoked, accepted) in [
        ("a live key", &live, false, (false, false)),
        ("a revoked live key", &live, true, (true, true)),
        ("an expired live key", &expired, false, (true, true)),
        ("a test key", &test, false, (true, true)),
        ("a key of production", &of_production, false, (true, false)),
        ("a revoked key of production", &of_production, true, (true, false)),
    ] {
        let (_directory, store) = database().await;
        let id = store.create_api_key(new, now).await.unwrap();
        if revoked {
            store.revoke_api_key(id, now).await.unwrap();
        }
        let found = published(&store, now).await;
        assert_eq!(found, accepted, "{case}");
    }
}

/// Whether the key of `test` and that of `production` are accepted.
async fn published(store: &Store, now: DateTime<Utc>) -> (bool, bool) {
    let ring = Arc::new(KeyRing::load(store, true).await.unwrap());
    let accepted = |key: &str| ring.find(key.as_bytes(), now).is_some();
    (accepted(KEY), accepted("prod_key_456"))
}
