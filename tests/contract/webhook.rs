//! The webhook as published: every example of the API page, and every refusal with its exact body.

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
        assert_eq!(answer.header("content-type").split(';').next(), Some("application/json"));
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
    for department in [json!(null), json!(""), json!(" \t\u{3000}")] {
        let answer =
            up.post(call(&json!({"department": department, "extra": {"a": [1, 2]}})).to_string()).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        assert_eq!(answer.json()["data"]["department"], Value::Null);
        assert!(answer.json()["data"].get("extra").is_none());
    }
    let mut without = call(&json!({}));
    without.as_object_mut().unwrap().remove("department");
    assert_eq!(up.post(without.to_string()).await.json()["data"]["department"], Value::Null);
}

#[tokio::test]
async fn digits_count_as_the_string_of_those_digits_however_many() {
    let up = Up::start().await;
    let body = call(&json!({})).to_string();
    for digits in ["0", "9087270291", "12345678901234567890123456789012345678901234567890"] {
        let body = body
            .replace("\"9087270291\"", digits)
            .replace("\"Agent Smith\"", "7")
            .replace("\"Customer Service\"", "42");
        let data = up.post(body).await.json()["data"].clone();
        assert_eq!(
            (&data["from_phone"], &data["handled_by"], &data["department"]),
            (&json!(digits), &json!("7"), &json!("42"))
        );
    }
}

#[tokio::test]
async fn required_fields_that_are_missing_are_named_in_the_published_order() {
    let up = Up::start().await;
    let answer = up
        .post(r#"{"to_phone":"8006000009","start_time":"2024-01-15 09:00:00","end_time":"2024-01-15 09:15:00","from_phone":null,"handled_by":" "}"#)
        .await;
    answer.assert(
        400,
        r#"{
          "error": "Missing required fields",
          "message": "The following fields are required: from_phone, handled_by, recording_url",
          "missing_fields": ["from_phone", "handled_by", "recording_url"]
        }"#,
    );
    let all = r#"["from_phone","to_phone","handled_by","start_time","end_time","recording_url"]"#;
    for empty in ["{}", r#"{"recording_url":"","end_time":"\u00a0","unknown":1}"#] {
        let answer = up.post(empty).await;
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains(&format!(r#""missing_fields":{all}"#)), "{}", answer.body);
    }
    let answer = up.post(call(&json!({"from_phone": "0", "handled_by": "0"})).to_string()).await;
    assert_eq!(answer.status, 201, "the string 0 is present");
}

#[tokio::test]
async fn every_invalid_field_gets_its_published_refusal() {
    let up = Up::start().await;
    let time = |field: &str| {
        format!(
            r#"{{"error":"Invalid {field} format","message":"{field} must be in YYYY-MM-DD HH:MM:SS format","example":"2024-01-15 09:00:00"}}"#
        )
    };
    let kind = |field: &str| {
        format!(r#"{{"error":"Invalid field type","message":"{field} must be a string","field":"{field}"}}"#)
    };
    let range = r#"{"error":"Invalid time range","message":"end_time must be after start_time"}"#.to_owned();
    let url = r#"{"error":"Invalid recording URL","message":"recording_url must be a valid URL"}"#.to_owned();
    let mut cases = vec![
        (json!({"from_phone": 1.5}), kind("from_phone")),
        (json!({"to_phone": -1}), kind("to_phone")),
        (json!({"handled_by": ["Smith"]}), kind("handled_by")),
        (json!({"department": {"name": "x"}}), kind("department")),
        (json!({"start_time": 20_240_115}), kind("start_time")),
        (json!({"end_time": true}), kind("end_time")),
        (json!({"recording_url": false}), kind("recording_url")),
        (json!({"start_time": "x", "end_time": "y"}), time("start_time")),
        (json!({"end_time": "2024-01-15T09:15:00"}), time("end_time")),
        (json!({"end_time": "2024-01-15 09:00:00"}), range.clone()),
        (json!({"end_time": "2024-01-15 08:59:59", "recording_url": "nonsense"}), range),
    ];
    for wrong in [
        "2024-1-15 9:00:00",
        "+2024-01-15 09:00:00",
        " 2024-01-15 09:00:00",
        "2024-01-15 09:00:00 ",
        "2024-01-15  09:00:00",
        "2024-01-15\u{a0}09:00:00",
        "2024-01-15 09:00",
        "2024-02-30 09:00:00",
        "2023-02-29 09:00:00",
        "2024-01-15 24:00:00",
        "2024-01-15 09:00:60",
        "2024-13-01 09:00:00",
        "1969-12-31 23:59:59",
        "0000-01-01 00:00:00",
        "2024-01-15 09:00:00Z",
        "٢٠٢٤-01-15 09:00:00",
    ] {
        cases.push((json!({"start_time": wrong}), time("start_time")));
    }
    for wrong in [
        "ftp://example.com/a.wav",
        "example.com/a.wav",
        "//example.com/a.wav",
        "http://",
        "http:///a.wav",
        "http:example.com",
        "https:/example.com/a.wav",
        "http://exa mple.com/a.wav",
        "http://example.com/a b.wav",
        " http://example.com/a.wav",
        "http://example.com/a.wav ",
        "http://:80/",
        "http://user@/a.wav",
        "http://[::1/a.wav",
        "http://256.1.1.1/a.wav",
        "javascript:alert(1)",
        "http://example.com:99999/",
    ] {
        cases.push((json!({"recording_url": wrong}), url.clone()));
    }
    for (changes, expected) in cases {
        let answer = up.post(call(&changes).to_string()).await;
        assert_eq!((answer.status.as_u16(), answer.body), (400, expected), "{changes}");
    }
}

#[tokio::test]
async fn a_private_address_is_taken_and_left_to_the_worker() {
    let up = Up::start().await;
    for url in [
        "http://127.0.0.1/a.wav",
        "http://[::1]:8000/a.wav",
        "https://10.0.0.1/",
        "http://localhost/x",
        "hTTp://u:p@h/x",
    ] {
        assert_eq!(up.post(call(&json!({"recording_url": url})).to_string()).await.status, 201, "{url}");
    }
}

#[tokio::test]
async fn lengths_are_counted_in_characters_and_control_characters_are_refused() {
    let up = Up::start().await;
    for (field, most) in [("from_phone", 64), ("to_phone", 64), ("handled_by", 255), ("department", 255)] {
        let longest = "é".repeat(most);
        assert_eq!(up.post(call(&json!({field: longest})).to_string()).await.status, 201, "{field}");
        let answer = up.post(call(&json!({field: format!("{longest}é")})).to_string()).await;
        let body = answer.json();
        assert_eq!(
            (answer.status.as_u16(), &body["error"], &body["field"]),
            (400, &json!("Invalid field value"), &json!(field))
        );
        for control in ["\0", "\n", "\u{7f}", "\u{85}"] {
            let answer = up.post(call(&json!({field: format!("a{control}b")})).to_string()).await;
            let body = answer.json();
            assert_eq!(
                (answer.status.as_u16(), &body["error"], &body["field"]),
                (400, &json!("Invalid field value"), &json!(field))
            );
        }
    }
    let longest = format!("http://h/{}", "a".repeat(2048 - 9));
    assert_eq!(up.post(call(&json!({"recording_url": longest})).to_string()).await.status, 201);
    let answer = up.post(call(&json!({"recording_url": format!("{longest}a")})).to_string()).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["field"]), (400, &json!("recording_url")));
}

#[tokio::test]
async fn what_is_no_json_object_is_refused() {
    let up = Up::start().await;
    let good = call(&json!({})).to_string();
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
        good.replacen('{', &format!("{{\"x\":{open}{close},"), 1)
    };
    let bad: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"\"text\"".to_vec(),
        b"{".to_vec(),
        format!("{good}x").into_bytes(),
        good.replace("\"from_phone\"", "from_phone").into_bytes(),
        good.replace('}', ",}").into_bytes(),
        good.replace("9087270291", "\u{1}").replace("\\u0001", "\u{1}").into_bytes(),
        good.replace("\"9087270291\"", "007").into_bytes(),
        good.replace("Agent Smith", "\\ud800").into_bytes(),
        [good.as_bytes(), b"\xff"].concat(),
        good.replace("Agent", "X")
            .into_bytes()
            .iter()
            .map(|byte| if *byte == b'X' { 0xff } else { *byte })
            .collect(),
        format!("\u{feff}\u{feff}{good}").into_bytes(),
        nested(129).into_bytes(),
        b"from_phone=1&to_phone=2".to_vec(),
    ];
    for body in bad {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let answer = up.post(body).await;
        let expected = r#"{"error":"Invalid JSON","message":"Request body must be valid JSON"}"#;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (400, expected), "{shown}");
    }
    for body in [format!("\u{feff}{good}"), format!(" \n{good}\t"), nested(128), nested(2)] {
        assert_eq!(up.post(body.clone()).await.status, 201, "{body}");
    }
    let twice = good.replacen('{', r#"{"from_phone":"first","#, 1);
    assert_eq!(up.post(twice).await.json()["data"]["from_phone"], "9087270291", "the last counts");
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
