//! The common part of all answers of the public listener: paths, methods, cross-origin headers, request ids, HTTP/2.

use reqwest::Method;
use serde_json::json;

use harness::TEST_KEY;

use crate::http::{Up, builder};
use crate::webhook::PUBLISHED_REQUEST;

#[tokio::test]
async fn other_methods_and_paths_are_refused_before_the_key_is_asked_for() {
    let up = Up::start().await;
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = up.send(method.clone(), "/webhook.php", &[], "").await;
        answer.assert(
            405,
            r#"{
              "error": "Method not allowed",
              "message": "This endpoint only accepts POST requests",
              "allowed_methods": ["POST"]
            }"#,
        );
        assert_eq!(answer.header("allow"), "POST, OPTIONS");
    }
    for path in ["/", "/webhook.phpx", "/webhook/x", "/WEBHOOK", "/calls", "/favicon.ico"] {
        let answer = up.send(Method::POST, path, &[("X-API-Key", TEST_KEY)], PUBLISHED_REQUEST).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (404, &json!("Not found")), "{path}");
        assert!(answer.json()["message"].is_string());
    }
}

#[tokio::test]
async fn every_answer_carries_the_cross_origin_headers() {
    let up = Up::start().await;
    let preflight = up
        .send(
            Method::OPTIONS,
            "/webhook.php",
            &[
                ("Origin", "https://a.example"),
                ("Access-Control-Request-Method", "POST"),
                ("Access-Control-Request-Headers", "x-api-key,content-type"),
            ],
            "",
        )
        .await;
    assert_eq!((preflight.status.as_u16(), preflight.body.as_str()), (204, ""));
    assert_eq!(preflight.header("access-control-allow-methods"), "POST, OPTIONS");
    let allowed = preflight.header("access-control-allow-headers").to_ascii_lowercase();
    for header in ["x-api-key", "authorization", "content-type", "idempotency-key", "x-request-id"] {
        assert!(allowed.contains(header), "{allowed}");
    }
    let answers = [
        preflight,
        up.post(PUBLISHED_REQUEST).await,
        up.post("{}").await,
        up.get("/calls/999999999").await,
        up.send(Method::POST, "/webhook", &[], "").await,
        up.send(Method::GET, "/nowhere", &[], "").await,
        up.send(Method::GET, "/webhook", &[], "").await,
    ];
    for answer in answers {
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{answer:?}");
        let exposed = answer.header("access-control-expose-headers").to_ascii_lowercase();
        for header in ["location", "retry-after", "x-request-id"] {
            assert!(exposed.contains(header), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn request_ids_come_back_where_they_are_acceptable() {
    let up = Up::start().await;
    let id_of = async |sent: &str| {
        up.send(Method::POST, "/webhook", &[("X-Request-Id", sent)], "")
            .await
            .header("x-request-id")
            .to_owned()
    };
    assert_eq!(id_of("a-Z_0.9").await, "a-Z_0.9");
    let longest = "x".repeat(128);
    assert_eq!(id_of(&longest).await, longest);
    for unacceptable in ["", "a b", "a/b", "ü", &"x".repeat(129)] {
        let id = id_of(unacceptable).await;
        assert!(!id.is_empty() && id != unacceptable, "{unacceptable:?} came back as {id:?}");
    }
    assert_ne!(id_of("").await, id_of("").await);
}

#[tokio::test]
async fn http_2_with_prior_knowledge_works_alike() {
    let up = Up::start().await;
    let client = builder().http2_prior_knowledge().build().unwrap();
    let request =
        client.post(format!("{}/webhook.php", up.url)).header("X-API-Key", TEST_KEY).body(PUBLISHED_REQUEST);
    let answer = request.send().await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 201));
    let refused =
        client.post(format!("{}/webhook.php", up.url)).body("x".repeat(100_000)).send().await.unwrap();
    assert_eq!(refused.status(), 401);
}
