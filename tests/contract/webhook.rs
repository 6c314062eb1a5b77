//! The webhook as published: every example of the API page, and every refusal with its exact body. Which bodies are
//! refused is tested beside the parser, in `shared/domain/src/call`.

use reqwest::Method;
use serde_json::{Value, json};

use harness::TEST_KEY;

use crate::http::{Up, call, without_white_space};

/// The request of the published page, as its curl example sends it.
pub(crate) const PUBLISHED_REQUEST: &str = r#"{
    "from_phone": "9087270291",
    "to_phone": "8006000009",
    "handled_by": "Agent Smith",
    "department": "Customer Service",
    "start_time": "2024-01-15 09:00:00",
    "end_time": "2024-01-15 09:15:00",
    "recording_url": "https://example.com/recordings/call123.wav"
  }"#;

#[tokio::test]
async fn the_published_request_gets_the_published_answer() {
    let up = Up::start().await;
    for path in ["/webhook.php", "/webhook", "/webhook.php/", "/webhook/?x=y", "/webhook.php?a=b&c"] {
        let headers = [("X-API-Key", TEST_KEY), ("Content-Type", "application/json")];
        let answer = up.send(Method::POST, path, &headers, PUBLISHED_REQUEST).await;
        let body = answer.json();
        let (id, created_at) =
            (body["data"]["id"].as_i64().unwrap(), body["data"]["created_at"].as_str().unwrap());
        let expected = format!(
            r#"{{
              "success": true,
              "message": "Call log created successfully",
              "data": {{
                "id": {id},
                "from_phone": "9087270291",
                "to_phone": "8006000009",
                "handled_by": "Agent Smith",
                "department": "Customer Service",
                "start_time": "2024-01-15 09:00:00",
                "end_time": "2024-01-15 09:15:00",
                "recording_url": "https://example.com/recordings/call123.wav",
                "title": "Call from 9087270291 to 8006000009 (handled by Agent Smith)",
                "created_at": "{created_at}"
              }}
            }}"#
        );
        answer.assert(201, &expected);
        assert_eq!(answer.header("location"), format!("/calls/{id}"));
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(answer.header("access-control-expose-headers"), "Location, Retry-After, X-Request-Id");
        assert_eq!(answer.header("x-request-id").len(), 36);
        assert!(id > 0 && id < 1 << 53);
        let created_at =
            chrono::NaiveDateTime::parse_from_str(created_at, "%Y-%m-%d %H:%M:%S").unwrap().and_utc();
        assert!((chrono::Utc::now() - created_at).num_seconds().abs() < 60, "UTC, now: {created_at}");
    }
}

#[tokio::test]
async fn strings_come_back_as_they_were_sent() {
    let up = Up::start().await;
    let sent = call(&json!({
        "from_phone": "+49 (0)30/1234-5", "handled_by": "名前 O'Brien \"quoted\" \\ </script> \u{1F4DE}",
        "department": " Sales ", "recording_url": "HTTP://user:pa%20ss@Example.COM:8080/a/b.wav?x=1&y=/#z"
    }));
    let answer = up.post(sent.to_string()).await;
    assert_eq!(answer.status, 201);
    for field in ["from_phone", "handled_by", "department", "recording_url"] {
        assert_eq!(answer.json()["data"][field], sent[field], "{field}");
    }
    assert!(
        answer.body.contains("HTTP://user:pa%20ss@Example.COM:8080/a/b.wav"),
        "slashes stay: {}",
        answer.body
    );
    assert!(answer.body.contains("名前"), "non-ASCII stays: {}", answer.body);
    let id = answer.json()["data"]["id"].clone();
    let read = up.get(&format!("/calls/{id}")).await;
    assert_eq!(read.json()["data"]["recording_url"], "HTTP://Example.COM:8080/a/b.wav?x=1&y=/#z");
    assert!(!read.body.contains("pa%20ss"));
}

#[tokio::test]
async fn an_absent_or_blank_department_is_null_and_unknown_fields_are_ignored() {
    let up = Up::start().await;
    let blank = call(&json!({"department": " \t\u{3000}", "extra": {"a": [1, 2]}}));
    let mut absent = blank.clone();
    absent.as_object_mut().unwrap().remove("department");
    for body in [blank, absent] {
        let answer = up.post(body.to_string()).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        assert_eq!(answer.json()["data"]["department"], Value::Null);
        assert!(answer.json()["data"].get("extra").is_none());
    }
}

#[tokio::test]
async fn digits_come_back_as_the_string_of_those_digits_however_many() {
    let up = Up::start().await;
    let digits = "12345678901234567890123456789012345678901234567890";
    let body = call(&json!({}))
        .to_string()
        .replace("\"9087270291\"", digits)
        .replace("\"Agent Smith\"", "7")
        .replace("\"Customer Service\"", "42");
    let data = up.post(body).await.json()["data"].clone();
    assert_eq!(
        (&data["from_phone"], &data["handled_by"], &data["department"]),
        (&json!(digits), &json!("7"), &json!("42"))
    );
}

#[tokio::test]
async fn the_longest_texts_are_stored() {
    let up = Up::start().await;
    let longest = call(&json!({
        "from_phone": "é".repeat(64),
        "to_phone": "名".repeat(64),
        "handled_by": "\u{1F4DE}".repeat(255),
        "department": "é".repeat(255),
        "recording_url": format!("http://h/{}", "a".repeat(2048 - 9)),
    }));
    let answer = up.post(longest.to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let read = up.get(answer.header("location")).await.json();
    for (field, sent) in longest.as_object().unwrap() {
        assert_eq!(&read["data"][field], sent, "{field}");
    }
}

#[tokio::test]
async fn every_refusal_of_a_body_has_its_published_answer() {
    let up = Up::start().await;
    let changed = |changes: Value| call(&changes).to_string().into_bytes();
    let missing = r#"{"to_phone":"8006000009","start_time":"2024-01-15 09:00:00","end_time":"2024-01-15 09:15:00","from_phone":null,"handled_by":" "}"#;
    let invalid_json = r#"{"error":"Invalid JSON","message":"Request body must be valid JSON"}"#;
    for (body, expected) in [
        (Vec::new(), invalid_json),
        ([PUBLISHED_REQUEST.as_bytes(), b"\xff"].concat(), invalid_json),
        (
            b"{}".to_vec(),
            r#"{"error":"Missing required fields","message":"The following fields are required: from_phone, to_phone, handled_by, start_time, end_time, recording_url","missing_fields":["from_phone","to_phone","handled_by","start_time","end_time","recording_url"]}"#,
        ),
        (
            missing.into(),
            r#"{"error":"Missing required fields","message":"The following fields are required: from_phone, handled_by, recording_url","missing_fields":["from_phone","handled_by","recording_url"]}"#,
        ),
        (
            changed(json!({"from_phone": true})),
            r#"{"error":"Invalid field type","message":"from_phone must be a string","field":"from_phone"}"#,
        ),
        (
            changed(json!({"handled_by": "Agent \0"})),
            r#"{"error":"Invalid field value","message":"handled_by must not contain control characters","field":"handled_by"}"#,
        ),
        (
            changed(json!({"from_phone": "1".repeat(65)})),
            r#"{"error":"Invalid field value","message":"from_phone must have at most 64 characters","field":"from_phone"}"#,
        ),
        (
            changed(json!({"start_time": "2024-01-15"})),
            r#"{"error":"Invalid start_time format","message":"start_time must be in YYYY-MM-DD HH:MM:SS format","example":"2024-01-15 09:00:00"}"#,
        ),
        (
            changed(json!({"end_time": "2024-01-15 24:00:00"})),
            r#"{"error":"Invalid end_time format","message":"end_time must be in YYYY-MM-DD HH:MM:SS format","example":"2024-01-15 09:00:00"}"#,
        ),
        (
            changed(json!({"end_time": "2024-01-15 09:00:00"})),
            r#"{"error":"Invalid time range","message":"end_time must be after start_time"}"#,
        ),
        (
            changed(json!({"recording_url": "ftp://example.com/a.wav"})),
            r#"{"error":"Invalid recording URL","message":"recording_url must be a valid URL"}"#,
        ),
    ] {
        let answer = up.post(body).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (400, expected));
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
    }
}

#[tokio::test]
async fn the_content_type_is_not_judged() {
    let up = Up::start().await;
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "nonsense"] {
        let headers = [("X-API-Key", TEST_KEY), ("Content-Type", content_type)];
        assert_eq!(
            up.send(Method::POST, "/webhook", &headers, call(&json!({})).to_string()).await.status,
            201
        );
    }
}

#[tokio::test]
async fn white_space_is_dropped_between_tokens_alone() {
    assert_eq!(without_white_space("{ \"a b\" : [ 1,\n\"c \\\" d\" ] }"), "{\"a b\":[1,\"c \\\" d\"]}");
}
