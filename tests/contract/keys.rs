//! API keys: the headers they come in, and their life from `keys create` to `keys revoke`.

use harness::{Callvine, PATIENCE, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use crate::http::{Answer, Up, call};

const REQUIRED: &str = r#"{"error":"Authentication required","message":"API key must be provided in X-API-Key header or Authorization header"}"#;
const INVALID: &str = r#"{"error":"Invalid API key","message":"The provided API key is not valid"}"#;

async fn post(up: &Up, headers: &[(&str, &str)]) -> Answer {
    up.send(Method::POST, "/webhook.php", headers, call(&json!({})).to_string()).await
}

#[tokio::test]
async fn a_key_is_taken_from_every_published_place() {
    let up = Up::start().await;
    // Base64 of `:test_key_123`, `any:test_key_123`, `test_key_123:` and `test_key_123`.
    let accepted: [&[(&str, &str)]; 15] = [
        &[("X-API-Key", "test_key_123")],
        &[("x-api-key", "prod_key_456")],
        &[("X-API-Key", "test_key_123"), ("Authorization", "Bearer wrong")],
        &[("X-API-Key", ""), ("Authorization", "Bearer test_key_123")],
        &[("Authorization", "Bearer test_key_123")],
        &[("Authorization", "bearer test_key_123")],
        &[("Authorization", "BEARER  test_key_123")],
        &[("Authorization", "Token test_key_123")],
        &[("Authorization", "apikey test_key_123")],
        &[("Authorization", "ApiKey test_key_123")],
        &[("Authorization", "test_key_123")],
        &[("Authorization", "Basic OnRlc3Rfa2V5XzEyMw==")],
        &[("Authorization", "basic YW55OnRlc3Rfa2V5XzEyMw==")],
        &[("Authorization", "Basic dGVzdF9rZXlfMTIzOg==")],
        &[("Authorization", "Basic dGVzdF9rZXlfMTIz")],
    ];
    for headers in accepted {
        let answer = post(&up, headers).await;
        assert_eq!(answer.status, 201, "{headers:?}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_missing_key_and_a_wrong_one_get_their_published_refusals() {
    let up = Up::start().await;
    let missing: [&[(&str, &str)]; 6] = [
        &[],
        &[("X-API-Key", "")],
        &[("Authorization", "")],
        &[("Authorization", "Bearer ")],
        &[("Authorization", "Bearer")],
        &[("Authorization", "Basic Og==")],
    ];
    for headers in missing {
        let answer = post(&up, headers).await;
        answer.assert(401, REQUIRED);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    let invalid: [&[(&str, &str)]; 5] = [
        &[("X-API-Key", "wrong")],
        &[("X-API-Key", "wrong"), ("Authorization", "Bearer test_key_123")],
        &[("Authorization", "Bearer test_key_124")],
        &[("Authorization", "Basic not-base64!")],
        &[("Authorization", "Digest test_key_123")],
    ];
    for headers in invalid {
        let answer = post(&up, headers).await;
        answer.assert(401, INVALID);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}

#[tokio::test]
async fn the_key_is_judged_before_the_body() {
    let up = Up::start().await;
    up.send(Method::POST, "/webhook.php", &[], "x".repeat(100_000)).await.assert(401, REQUIRED);
    up.send(Method::POST, "/webhook.php", &[("X-API-Key", "wrong")], "{").await.assert(401, INVALID);
}

#[tokio::test]
async fn the_published_test_keys_can_be_refused() {
    let up = Up::start_with(&[("CALLVINE_DEV_KEYS", "off")]).await;
    post(&up, &[("X-API-Key", "test_key_123")]).await.assert(401, INVALID);
}

#[tokio::test]
async fn a_key_lives_from_create_to_revoke() {
    let up = Up::start().await;
    let keys = |arguments: &'static [&'static str]| {
        Callvine::new("keys").args(arguments).directory(up.process.directory()).run()
    };
    let created = keys(&["create", "--client", "acme", "--env", "live"]).await;
    created.assert_code(0);
    let key = created.stdout.trim().to_owned();
    assert!(key.starts_with("cv_live_"), "{key}");
    assert!(keys(&["create", "--client", "acme", "--env", "test"]).await.stdout.starts_with("cv_test_"));
    let headers = [("X-API-Key", key.as_str())];
    eventually(PATIENCE, "the new key counts", async || post(&up, &headers).await.status == 201).await;

    // A client's calls are its own.
    let id = post(&up, &headers).await.json()["data"]["id"].clone();
    let path = format!("/calls/{id}");
    assert_eq!(up.send(Method::GET, &path, &headers, "").await.status, 200);
    assert_eq!(up.get(&path).await.status, 404);

    let listed = async || -> Vec<Value> {
        let finished = keys(&["list", "--json"]).await;
        finished.assert_code(0);
        assert!(!finished.stdout.contains(&key), "a key is printed once");
        finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    eventually(PATIENCE, "its use is written down", async || listed().await[0]["last_used_at"].is_string())
        .await;
    let line = &listed().await[0];
    assert_eq!(
        (&line["client"], &line["env"], &line["revoked_at"]),
        (&json!("acme"), &json!("live"), &Value::Null)
    );
    assert!(key.starts_with(line["prefix"].as_str().unwrap()));
    assert!(line["created_at"].is_string());
    assert_eq!(listed().await.len(), 2);

    let id = line["id"].to_string();
    let revoke = || Callvine::new("keys").args(["revoke", &id]).directory(up.process.directory()).run();
    revoke().await.assert_code(0);
    eventually(PATIENCE, "the revoked key is refused", async || post(&up, &headers).await.status == 401)
        .await;
    post(&up, &headers).await.assert(401, INVALID);
    assert!(listed().await[0]["revoked_at"].is_string());
    revoke().await.assert_code(1);
}
