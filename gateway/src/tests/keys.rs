//! Keys that are made, used and revoked while the gateway runs.

use std::time::Duration;

use callvine_shared::api_key::{ApiKey, Environment, Role};
use callvine_shared::store::NewApiKey;
use chrono::Utc;

use super::client::request;
use super::{Server, eventually};

/// A key counts everywhere within this time.
const PROMISED: Duration = Duration::from_secs(5);

async fn status_with(server: &Server, key: &ApiKey) -> u16 {
    let sent = request("POST", "/webhook", &format!("X-API-Key: {}\r\n", key.reveal()));
    server.connect().await.exchange(&sent).await.status
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
        role: Role::Provider,
        expires_at: None,
        rate_per_second: None,
        dedupe: None,
    };
    let id = server.store.create_api_key(&new, Utc::now()).await.unwrap();
    // The key is accepted, its body is not.
    eventually(PROMISED, "the new key counts", async || status_with(&server, &key).await == 400).await;
    eventually(PROMISED, "its use is recorded", async || {
        server.store.api_keys().await.unwrap().first().unwrap().last_used_at.is_some()
    })
    .await;
    assert!(server.store.revoke_api_key(id, Utc::now()).await.unwrap());
    eventually(PROMISED, "the revoked key is refused", async || status_with(&server, &key).await == 401)
        .await;
    server.stop().await;
    keeping.await.unwrap();
}
