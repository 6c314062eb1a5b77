//! The admin listener: health, readiness, metrics, and its token.

use harness::Callvine;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::http::{Up, call, client};

#[tokio::test]
async fn health_readiness_and_metrics_of_the_embedded_default() {
    let mut up = Up::start().await;
    let admin = up.process.admin().await;
    assert_eq!(up.post(call(&json!({})).to_string()).await.status, 201);
    let get = async |path: &str| up.client.get(format!("{admin}{path}")).send().await.unwrap();
    assert_eq!(get("/healthz").await.status(), StatusCode::OK);
    let ready = get("/readyz").await;
    assert_eq!(ready.status(), StatusCode::OK);
    let parts: Value = serde_json::from_str(&ready.text().await.unwrap()).unwrap();
    for part in ["database", "broker", "object_store"] {
        assert!(parts.get(part).is_some(), "{parts}");
    }
    let metrics = get("/metrics").await;
    assert!(metrics.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    let metrics = metrics.text().await.unwrap();
    for line in [
        "callvine_calls_accepted_total 1",
        "# TYPE callvine_http_requests_total counter",
        "# HELP callvine_outbox_rows",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert_eq!(get("/nowhere").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(up.get("/healthz").await.status, 404, "not on the public listener");
}

#[tokio::test]
async fn beyond_loopback_the_admin_listener_needs_a_token() {
    let refused = Callvine::new("up").env("CALLVINE_ADMIN_LISTEN", "0.0.0.0:0").run().await;
    refused.assert_code(2);
    assert!(refused.stderr.contains("CALLVINE_ADMIN_TOKEN"), "{}", refused.stderr);

    let mut process = Callvine::new("up")
        .env("CALLVINE_ADMIN_LISTEN", "0.0.0.0:0")
        .env("CALLVINE_ADMIN_TOKEN", "a token")
        .start()
        .await;
    let admin = process.admin().await.replace("0.0.0.0", "127.0.0.1");
    let status = async |path: &str, token: Option<&str>| {
        let request = client().get(format!("{admin}{path}"));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.unwrap().status().as_u16()
    };
    for path in ["/healthz", "/readyz"] {
        assert_eq!(status(path, None).await, 200, "{path}");
    }
    assert_eq!(status("/metrics", None).await, 401);
    assert_eq!(status("/metrics", Some("another")).await, 401);
    assert_eq!(status("/metrics", Some("a token")).await, 200);
}

#[tokio::test]
async fn the_admin_listener_can_be_left_out() {
    let mut process = Callvine::new("up").env("CALLVINE_ADMIN_LISTEN", "off").start().await;
    process.public().await;
    assert!(!process.stdout().contains("listening admin"));
}
