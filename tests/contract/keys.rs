//! API keys: the headers they come in, and the published ones. Their life is in [`crate::key_commands`].

use harness::{PATIENCE, TEST_KEY, eventually};
use reqwest::Method;
use serde_json::json;

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
async fn the_start_says_in_one_line_that_the_published_keys_are_accepted() {
    let line = "the published test keys are accepted";
    let said = |up: &Up| up.process.stderr().matches(line).count();
    let up = Up::start().await;
    eventually(PATIENCE, "it says so", async || said(&up) == 1).await;
    post(&up, &[("X-API-Key", TEST_KEY), ("X-Forwarded-For", "192.0.2.1")]).await.assert(401, INVALID);
    assert_eq!(said(&Up::start_with(&[("CALLVINE_DEV_KEYS", "off")]).await), 0);
}
