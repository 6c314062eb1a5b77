//! `GET /calls/ID` and `GET /recording.php?call_id=ID`, and what becomes of a recording, seen from outside.

use harness::{Answer as Origins, Origin, PATIENCE, Sound, TEST_KEY, obtained, sounds};
use reqwest::Method;
use serde_json::{Value, json};

use crate::http::{Up, call};

/// Loopback may be fetched from, and failures come quickly.
const QUICK: [(&str, &str); 3] = [
    ("CALLVINE_FETCH_ALLOW", "127.0.0.0/8"),
    ("CALLVINE_FETCH_ATTEMPTS", "3"),
    ("CALLVINE_FETCH_BACKOFF", "50ms"),
];

async fn post(up: &Up, recording_url: &str) -> i64 {
    let answer = up.post(call(&json!({"recording_url": recording_url})).to_string()).await;
    answer.json()["data"]["id"].as_i64().unwrap()
}

/// The call once its recording is no longer pending.
async fn settled(up: &Up, id: i64) -> Value {
    obtained(PATIENCE, "the recording is settled", async || {
        let data = up.get(&format!("/calls/{id}")).await.json()["data"].clone();
        (data["recording"]["status"] != "pending").then_some(data)
    })
    .await
}

#[tokio::test]
async fn a_call_is_shown_with_all_its_fields_before_anything_has_become_of_it() {
    // The origin never answers, so the recording stays pending.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let up = Up::start_with(&QUICK).await;
    let url = format!("http://{}/call.wav", silent.local_addr().unwrap());
    let answer = up.post(call(&json!({"recording_url": url, "department": null})).to_string()).await.json();
    let id = answer["data"]["id"].as_i64().unwrap();
    let expected = json!({"success": true, "data": {
        "id": id, "from_phone": "9087270291", "to_phone": "8006000009", "handled_by": "Agent Smith",
        "department": null, "start_time": "2024-01-15 09:00:00", "end_time": "2024-01-15 09:15:00",
        "recording_url": url, "title": "Call from 9087270291 to 8006000009 (handled by Agent Smith)",
        "created_at": answer["data"]["created_at"], "env": "test",
        "recording": {"status": "pending", "attempts": 0, "next_attempt_at": null, "reason": null,
            "last_error": null, "location": null, "size": null, "sha256": null, "media_type": null, "codec": null,
            "duration_seconds": null, "channels": null, "sample_rate": null, "stored_at": null},
        "analysis": {"status": "none", "analyzer": null, "results": null}, "analyses": []}});
    for path in [format!("/calls/{id}"), format!("/calls/{id}/"), format!("/recording.php?call_id={id}")] {
        let shown = up.get(&path).await;
        assert_eq!((shown.status.as_u16(), shown.json()), (200, expected.clone()), "{path}");
    }
}

#[tokio::test]
async fn a_recording_is_fetched_proved_kept_and_queued_for_analysis() {
    let origin = Origin::start().await;
    let up = Up::start_with(&QUICK).await;
    let Sound { bytes, sha256, duration_seconds, channels, sample_rate, .. } = sounds(1).remove(0);
    let id = post(&up, &origin.serve("/call.wav", Origins::wav(bytes.clone()))).await;
    let data = settled(&up, id).await;
    let recording = &data["recording"];
    assert_eq!((&recording["status"], &recording["attempts"]), (&json!("stored"), &json!(1)), "{data}");
    assert_eq!((&recording["size"], &recording["sha256"]), (&json!(bytes.len()), &json!(sha256)));
    assert_eq!((&recording["media_type"], &recording["codec"]), (&json!("audio/wav"), &json!("pcm_s16le")));
    assert_eq!((&recording["channels"], &recording["sample_rate"]), (&json!(channels), &json!(sample_rate)));
    assert!((recording["duration_seconds"].as_f64().unwrap() - duration_seconds).abs() < 0.02);
    assert!(
        recording["stored_at"].is_string()
            && recording["reason"].is_null()
            && recording["next_attempt_at"].is_null()
    );
    assert_eq!(data["analysis"], json!({"status": "requested", "analyzer": null, "results": null}));
    let requested = &data["analyses"][0];
    assert_eq!((&requested["analyzer"], &requested["attempts"]), (&json!("quality"), &json!(0)));
    let kept = url::Url::parse(recording["location"].as_str().unwrap()).unwrap().to_file_path().unwrap();
    assert_eq!(std::fs::read(kept).unwrap(), bytes);
    assert_eq!(origin.count("/call.wav"), 1);
}

#[tokio::test]
async fn a_recording_that_can_not_be_had_ends_with_its_reason_and_the_call_stays() {
    let origin = Origin::start().await;
    let environment = [&QUICK[..], &[("CALLVINE_MAX_RECORDING", "100KiB")]].concat();
    let up = Up::start_with(&environment).await;
    let sound = sounds(1).remove(0).bytes;
    let cut = sound.slice(..sound.len() / 2);
    let truncated = Origins::Truncated { bytes: sound.clone(), sent: 1000 };
    let too_large = Origins::wav([sound.as_ref(), vec![0; 200_000].as_slice()].concat());
    let cases = [
        (origin.url("/nowhere.wav"), "not_found", 3),
        (origin.serve("/page.wav", Origins::page_as_audio()), "not_audio", 3),
        (origin.serve("/call.pdf", Origins::body("audio/wav", "%PDF-1.7\n")), "not_audio", 1),
        (origin.serve("/large.wav", too_large), "too_large", 1),
        (origin.serve("/empty.wav", Origins::empty()), "empty", 3),
        (origin.serve("/broken.wav", truncated), "truncated", 3),
        (origin.serve("/short.wav", Origins::wav(cut)), "truncated", 3),
        ("http://169.254.169.254/latest/meta-data".to_owned(), "blocked_address", 1),
        ("http://[::1]:9/x.wav".to_owned(), "blocked_address", 1),
    ];
    for (url, reason, attempts) in cases {
        let id = post(&up, &url).await;
        let data = settled(&up, id).await;
        let recording = &data["recording"];
        assert_eq!(
            (&recording["status"], &recording["reason"]),
            (&json!("failed"), &json!(reason)),
            "{url}: {data}"
        );
        assert_eq!(recording["attempts"], attempts, "{url}: {data}");
        assert!(recording["last_error"].is_string() && recording["location"].is_null());
        assert_eq!(
            (&data["id"], &data["analysis"]["status"]),
            (&json!(id), &json!("none")),
            "the call stays"
        );
    }
}

#[tokio::test]
async fn loopback_is_not_fetched_from_unless_it_is_allowed() {
    let origin = Origin::start().await;
    let up = Up::start().await;
    let url = origin.serve("/call.wav", Origins::wav(sounds(1).remove(0).bytes));
    let id = post(&up, &url).await;
    assert_eq!(settled(&up, id).await["recording"]["reason"], "blocked_address");
    assert_eq!(origin.count("/call.wav"), 0);
}

#[tokio::test]
async fn a_recording_that_is_not_ready_yet_is_tried_again() {
    let origin = Origin::start().await;
    let up = Up::start_with(&QUICK).await;
    let sound = Origins::wav(sounds(1).remove(0).bytes);
    let id = post(&up, &origin.serve_after_failures("/late.wav", 404, 2, sound)).await;
    let recording = settled(&up, id).await["recording"].clone();
    assert_eq!((&recording["status"], &recording["attempts"]), (&json!("stored"), &json!(3)));
    assert_eq!((&recording["reason"], &recording["last_error"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_failed_attempt_shows_why_and_when_the_next_one_is() {
    let origin = Origin::start().await;
    let up =
        Up::start_with(&[("CALLVINE_FETCH_ALLOW", "127.0.0.0/8"), ("CALLVINE_FETCH_BACKOFF", "1h")]).await;
    let id = post(&up, &origin.url("/nowhere.wav")).await;
    let recording = obtained(PATIENCE, "the first try has failed", async || {
        let recording = up.get(&format!("/calls/{id}")).await.json()["data"]["recording"].clone();
        (recording["attempts"] == 1).then_some(recording)
    })
    .await;
    assert_eq!(
        (&recording["status"], &recording["reason"]),
        (&json!("pending"), &Value::Null),
        "it is not given up"
    );
    assert!(recording["last_error"].is_string() && recording["next_attempt_at"].is_string(), "{recording}");
}

#[tokio::test]
async fn a_call_that_is_not_there_is_not_found_and_a_key_is_needed_to_ask() {
    let up = Up::start().await;
    let id = post(&up, "https://example.com/call.wav").await;
    for path in [
        "/calls/999999999",
        "/calls/0",
        "/calls/-1",
        "/calls/x",
        "/calls/9999999999999999999999",
        "/recording.php",
        "/recording.php?call_id=",
        "/recording.php?call_id=x",
    ] {
        let answer = up.get(path).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (404, &json!("Not found")), "{path}");
    }
    let path = format!("/calls/{id}");
    assert_eq!(up.send(Method::GET, &path, &[], "").await.status, 401);
    assert_eq!(up.send(Method::GET, &path, &[("X-API-Key", "wrong")], "").await.status, 401);
    assert_eq!(
        up.send(Method::GET, &path, &[("X-API-Key", "prod_key_456")], "").await.status,
        404,
        "another client's"
    );
    let answer = up.send(Method::DELETE, &path, &[("X-API-Key", TEST_KEY)], "").await;
    assert_eq!(answer.status, 405);
    assert!(answer.header("allow").contains("GET"));
    assert_eq!(up.send(Method::OPTIONS, &path, &[], "").await.status, 204);
}
