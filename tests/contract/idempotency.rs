//! Repeated posts over HTTP: `Idempotency-Key`, and keys made to tell calls by their fields.

use std::path::Path;

use futures_util::future::join_all;
use harness::{Callvine, Database, Running, TEST_KEY, new_directory};
use reqwest::Method;
use serde_json::{Value, json};

use crate::http::{Answer, Up, call, client};

const REUSED: &str = r#"{"error":"Idempotency key reused","message":"This Idempotency-Key was sent before with another request body"}"#;
const INVALID: &str = r#"{"error":"Invalid idempotency key","message":"Idempotency-Key must have 1 to 255 visible ASCII characters and be sent once"}"#;

async fn post(up: &Up, api_key: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let headers = [&[("X-API-Key", api_key)], headers].concat();
    up.send(Method::POST, "/webhook.php", &headers, body.to_string()).await
}

async fn keyed(up: &Up, key: &str, body: &Value) -> Answer {
    post(up, TEST_KEY, &[("Idempotency-Key", key)], body).await
}

/// How many calls are stored.
async fn stored(process: &Running) -> usize {
    Database::embedded(process.directory()).calls().await.len()
}

#[track_caller]
fn assert_first(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.header("idempotent-replayed")), (201, ""), "{}", answer.body);
}

#[track_caller]
fn assert_replay(answer: &Answer, first: &Answer) {
    assert_eq!((answer.status.as_u16(), &answer.body), (201, &first.body));
    assert_eq!(answer.header("idempotent-replayed"), "true");
    for name in ["location", "content-type", "access-control-expose-headers"] {
        assert_eq!(answer.header(name), first.header(name), "{name}");
    }
}

#[tokio::test]
async fn the_same_key_and_body_get_the_first_answer_to_the_byte() {
    let up = Up::start().await;
    let longest = "k".repeat(255);
    let unusual = call(&json!({
        "handled_by": "名前 O'Brien \"quoted\" \u{1F4DE}", "department": " ",
        "recording_url": "https://user:pa%20ss@example.com/a.wav", "unknown": [1, 2]
    }));
    for key in ["k", "\"8e03978e-40d5-43e8-bc93-6894a57f9324\"", &longest] {
        let first = keyed(&up, key, &unusual).await;
        assert_first(&first);
        for _ in 0..2 {
            assert_replay(&keyed(&up, key, &unusual).await, &first);
        }
        let twice = [("Idempotency-Key", key), ("Idempotency-Key", key)];
        assert_replay(&post(&up, TEST_KEY, &twice, &unusual).await, &first);
    }
    assert_eq!(stored(&up.process).await, 3);
}

#[tokio::test]
async fn the_same_key_with_another_body_is_refused_whatever_the_body_means() {
    let up = Up::start().await;
    let first = keyed(&up, "k", &call(&json!({}))).await;
    assert_first(&first);
    keyed(&up, "k", &call(&json!({"from_phone": "1"}))).await.assert(422, REUSED);
    let same_fields = format!(" {}", call(&json!({})));
    let headers = [("X-API-Key", TEST_KEY), ("Idempotency-Key", "k")];
    up.send(Method::POST, "/webhook.php", &headers, same_fields).await.assert(422, REUSED);
    assert_replay(&keyed(&up, "k", &call(&json!({}))).await, &first);
    assert_eq!(stored(&up.process).await, 1);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_after_every_other_check() {
    let up = Up::start().await;
    let too_long = "k".repeat(256);
    let body = call(&json!({}));
    let invalid: [&[&str]; 7] = [&[""], &[" "], &["a b"], &["é"], &[&too_long], &["k", "l"], &["k", ""]];
    for keys in invalid {
        let headers: Vec<_> = keys.iter().map(|key| ("Idempotency-Key", *key)).collect();
        post(&up, TEST_KEY, &headers, &body).await.assert(400, INVALID);
        assert_eq!(post(&up, "wrong", &headers, &body).await.status, 401);
        let refused = post(&up, TEST_KEY, &headers, &json!({})).await;
        assert_eq!(refused.json()["error"], "Missing required fields");
    }
    assert_eq!(stored(&up.process).await, 0);
}

#[tokio::test]
async fn a_refused_request_uses_up_no_key() {
    let up = Up::start().await;
    assert_eq!(keyed(&up, "k", &json!({})).await.status, 400);
    assert_eq!(keyed(&up, "k", &call(&json!({"recording_url": "ftp://x"}))).await.status, 400);
    assert_eq!(post(&up, "wrong", &[("Idempotency-Key", "k")], &call(&json!({}))).await.status, 401);
    assert_first(&keyed(&up, "k", &call(&json!({}))).await);
}

#[tokio::test]
async fn without_a_key_every_post_is_a_call() {
    let up = Up::start().await;
    for _ in 0..2 {
        assert_first(&post(&up, TEST_KEY, &[], &call(&json!({}))).await);
    }
    assert_eq!(stored(&up.process).await, 2);
}

#[tokio::test]
async fn many_posts_of_one_key_at_once_store_one_call() {
    let mut up = Up::start().await;
    let (body, other) = (call(&json!({})), call(&json!({"from_phone": "1"})));
    let posts = (0..50).map(|number| keyed(&up, "k", if number % 5 == 4 { &other } else { &body }));
    let answers = join_all(posts).await;
    let first: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 201 && answer.header("idempotent-replayed").is_empty())
        .collect();
    assert_eq!(first.len(), 1);
    let is_other = first[0].json()["data"]["from_phone"] == "1";
    for (number, answer) in answers.iter().enumerate() {
        if (number % 5 == 4) != is_other {
            answer.assert(422, REUSED);
        } else {
            assert_eq!((answer.status.as_u16(), &answer.body), (201, &first[0].body));
        }
    }
    assert_eq!(stored(&up.process).await, 1);

    let metrics = format!("{}/metrics", up.process.admin().await);
    let metrics = client().get(metrics).send().await.unwrap().text().await.unwrap();
    let replays = answers.iter().filter(|answer| answer.header("idempotent-replayed") == "true").count();
    assert!(metrics.contains(&format!("callvine_calls_replayed_total {replays}\n")), "{metrics}");
    assert!(metrics.contains("callvine_calls_accepted_total 1\n"), "{metrics}");
}

/// Goal: a key is known after a restart, and each client's are its own.
#[tokio::test]
async fn keys_belong_to_a_client_and_survive_a_restart() {
    let directory = new_directory("up");
    let mut keys = Vec::new();
    for client in ["acme", "acme", "other"] {
        keys.push(create_key(&directory, client, &[]).await);
    }
    let body = call(&json!({}));
    let up = start(&directory).await;
    let first = post(&up, &keys[0], &[("Idempotency-Key", "k")], &body).await;
    assert_first(&first);
    assert_replay(&post(&up, &keys[1], &[("Idempotency-Key", "k")], &body).await, &first);
    let others = post(&up, &keys[2], &[("Idempotency-Key", "k")], &call(&json!({"from_phone": "1"}))).await;
    assert_first(&others);
    up.process.stop().await.assert_code(0);
    let up = start(&directory).await;
    assert_replay(&post(&up, &keys[0], &[("Idempotency-Key", "k")], &body).await, &first);
    assert_eq!(stored(&up.process).await, 2);
}

/// Goal: a provider that can't send the header gets the same by its key; and the header wins where it is sent.
#[tokio::test]
async fn a_key_that_tells_calls_by_their_fields_stores_each_call_once() {
    let directory = new_directory("up");
    let key = create_key(&directory, "acme", &["--dedupe", "1h"]).await;
    let plain = create_key(&directory, "acme", &[]).await;
    let up = start(&directory).await;
    let body = call(&json!({}));
    let first = post(&up, &key, &[], &body).await;
    assert_first(&first);
    // The fields are the same, whatever else the bodies have.
    let mut longer = body.clone();
    longer["unknown"] = json!({"attempt": 2});
    assert_replay(&post(&up, &key, &[], &body).await, &first);
    assert_replay(&post(&up, &key, &[], &longer).await, &first);
    for field in ["from_phone", "to_phone", "handled_by", "department"] {
        assert_first(&post(&up, &key, &[], &call(&json!({field: "other"}))).await);
    }
    assert_first(&post(&up, &key, &[("Idempotency-Key", "k")], &body).await);
    assert_first(&post(&up, &plain, &[], &body).await);
    assert_eq!(stored(&up.process).await, 7);
}

async fn create_key(directory: &Path, client: &str, options: &[&str]) -> String {
    let create = Callvine::new("keys").args(["create", "--client", client]).args(options);
    let created = create.directory(directory).run().await;
    created.assert_code(0);
    created.stdout.trim().to_owned()
}

async fn start(directory: &Path) -> Up {
    let mut process = Callvine::new("up").directory(directory).start().await;
    let url = process.public().await;
    Up { process, url, client: client() }
}
