//! Keys that are made, used and revoked while the gateway runs.

use std::time::Duration;

use callvine_shared::api_key::{ApiKey, Environment};
use callvine_shared::store::NewApiKey;
use chrono::Utc;
use tokio::time::{Instant, sleep};

use super::Server;
use super::client::request;

/// A key counts everywhere within this time.
const PROMISED: Duration = Duration::from_secs(5);

async fn status_with(server: &Server, key: &ApiKey) -> u16 {
    let sent = request("POST", "/webhook", &format!("X-API-Key: {}\r\n", key.reveal()));
    server.connect().await.exchange(&sent).await.status
}

/// Asks until the status is the expected one, within the promised time.
async fn becomes(server: &Server, key: &ApiKey, status: u16) {
    let deadline = Instant::now() + PROMISED;
    while status_with(server, key).await != status {
        assert!(Instant::now() < deadline, "the key does not count");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_key_counts_soon_after_it_is_made_and_until_soon_after_it_is_revoked() {
    let server = Server::start().await;
    let keeping =
        tokio::spawn(server.keys.clone().keep_current(server.store.clone(), server.shutdown.clone()));
    let key = ApiKey::generate(Environment::Live).unwrap();
    assert_eq!(status_with(&server, &key).await, 401);
    let new = NewApiKey {
        client: "acme".to_owned(),
        environment: Environment::Live,
        prefix: key.prefix().to_owned(),
        digest: key.digest(),
    };
    let id = server.store.create_api_key(&new, Utc::now()).await.unwrap();
    // The key is accepted, its body is not.
    becomes(&server, &key, 400).await;
    let used_at = |rows: Vec<callvine_shared::store::ApiKeyRow>| rows.first().unwrap().last_used_at;
    let deadline = Instant::now() + PROMISED;
    while used_at(server.store.api_keys().await.unwrap()).is_none() {
        assert!(Instant::now() < deadline, "its use is not written down");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(server.store.revoke_api_key(id, Utc::now()).await.unwrap());
    becomes(&server, &key, 401).await;
    server.stop().await;
    keeping.await.unwrap();
}
