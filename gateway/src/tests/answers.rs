//! What is answered to what, to the letter.

use super::client::{post, request};
use super::{CALL, KEY, Server};

#[tokio::test]
async fn a_call_is_stored_and_answered_as_published() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let reply = client.exchange(&post(CALL)).await;
    assert_eq!(reply.status, 201);
    let id = reply.json()["data"]["id"].as_i64().unwrap();
    let created_at = reply.json()["data"]["created_at"].as_str().unwrap().to_owned();
    let expected = format!(
        "{{\"success\":true,\"message\":\"Call log created successfully\",\"data\":{{\"id\":{id},{},{}}}}}",
        CALL.trim_matches(['{', '}']),
        format_args!(
            "\"title\":\"Call from 9087270291 to 8006000009 (handled by Agent Smith)\",\"created_at\":\"{created_at}\""
        ),
    );
    assert_eq!(reply.body, expected);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("location"), format!("/calls/{id}"));
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    assert_eq!(reply.header("access-control-expose-headers"), "Location, Retry-After, X-Request-Id");
    assert_eq!(reply.header("x-request-id").len(), 36);

    let get = |path: &str| request("GET", path, &format!("Authorization: Bearer {KEY}\r\n"));
    for path in [format!("/calls/{id}"), format!("/recording.php?call_id={id}")] {
        let shown = client.exchange(&get(&path)).await;
        assert_eq!(shown.status, 200);
        let mut data = shown.json()["data"].take();
        assert_eq!(data["recording"]["status"], "pending");
        assert_eq!(data["recording"]["attempts"], 0);
        assert_eq!(data["recording"]["size"], serde_json::Value::Null);
        assert_eq!(data["recording"].as_object().unwrap().len(), 14);
        let no_analysis = serde_json::json!({"status": "none", "analyzer": null, "results": null});
        assert_eq!(data["analysis"], no_analysis);
        data.as_object_mut().unwrap().retain(|field, _| field != "recording" && field != "analysis");
        assert_eq!(data, reply.json()["data"]);
    }
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_call_is_shown_to_its_own_client_without_the_url_s_password() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let sent = CALL.replace("https://", "https://user:secret@");
    let reply = client.exchange(&post(&sent)).await;
    assert_eq!(
        reply.json()["data"]["recording_url"],
        "https://user:secret@example.com/recordings/call123.wav"
    );
    let path = reply.header("location").to_owned();
    let shown = client.exchange(&request("GET", &path, &format!("X-API-Key: {KEY}\r\n"))).await;
    assert_eq!(shown.json()["data"]["recording_url"], "https://example.com/recordings/call123.wav");

    let not_found = r#"{"error":"Not found","message":"There is no call with this ID"}"#;
    for (path, key) in
        [(path.as_str(), "prod_key_456"), ("/calls/999999", KEY), ("/calls/x", KEY), ("/recording.php", KEY)]
    {
        let reply = client.exchange(&request("GET", path, &format!("X-API-Key: {key}\r\n"))).await;
        assert_eq!((reply.status, reply.body.as_str()), (404, not_found), "{path} {key}");
    }
    client.send(&request("HEAD", &path, &format!("X-API-Key: {KEY}\r\n"))).await;
    let head = client.reply_to_head().await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), shown.body.len().to_string());
    assert_eq!(client.exchange(&request("GET", &path, "X-API-Key: x\r\n")).await.status, 401);
}

#[tokio::test]
async fn rejections_are_the_published_ones() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for (sent, status, body) in [
        (
            "{}",
            400,
            r#"{"error":"Missing required fields","message":"The following fields are required: from_phone, to_phone, handled_by, start_time, end_time, recording_url","missing_fields":["from_phone","to_phone","handled_by","start_time","end_time","recording_url"]}"#,
        ),
        ("", 400, r#"{"error":"Invalid JSON","message":"Request body must be valid JSON"}"#),
        (
            &CALL.replace("\"9087270291\"", "true"),
            400,
            r#"{"error":"Invalid field type","message":"from_phone must be a string","field":"from_phone"}"#,
        ),
        (
            &CALL.replace("Smith", "\\u0000"),
            400,
            r#"{"error":"Invalid field value","message":"handled_by must not contain control characters","field":"handled_by"}"#,
        ),
        (
            &CALL.replace("9087270291", &"1".repeat(65)),
            400,
            r#"{"error":"Invalid field value","message":"from_phone must have at most 64 characters","field":"from_phone"}"#,
        ),
        (
            &CALL.replace("2024-01-15 09:00:00", "2024-01-15"),
            400,
            r#"{"error":"Invalid start_time format","message":"start_time must be in YYYY-MM-DD HH:MM:SS format","example":"2024-01-15 09:00:00"}"#,
        ),
        (
            &CALL.replace("09:15:00", "24:00:00"),
            400,
            r#"{"error":"Invalid end_time format","message":"end_time must be in YYYY-MM-DD HH:MM:SS format","example":"2024-01-15 09:00:00"}"#,
        ),
        (
            &CALL.replace("09:15:00", "09:00:00"),
            400,
            r#"{"error":"Invalid time range","message":"end_time must be after start_time"}"#,
        ),
        (
            &CALL.replace("https", "ftp"),
            400,
            r#"{"error":"Invalid recording URL","message":"recording_url must be a valid URL"}"#,
        ),
    ] {
        let reply = client.exchange(&post(sent)).await;
        assert_eq!((reply.status, reply.body.as_str()), (status, body));
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        assert_eq!(reply.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn paths_methods_and_keys_are_checked_in_this_order() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let not_found = r#"{"error":"Not found","message":"There is nothing at this address"}"#;
    let method = r#"{"error":"Method not allowed","message":"This endpoint only accepts POST requests","allowed_methods":["POST"]}"#;
    let missing = r#"{"error":"Authentication required","message":"API key must be provided in X-API-Key header or Authorization header"}"#;
    let unknown = r#"{"error":"Invalid API key","message":"The provided API key is not valid"}"#;
    for (sent, status, body, header) in [
        (request("POST", "/", ""), 404, not_found, ("allow", "")),
        (request("OPTIONS", "/webhooks", ""), 404, not_found, ("allow", "")),
        (request("GET", "/webhook.php", ""), 405, method, ("allow", "POST, OPTIONS")),
        (request("DELETE", "/webhook/?x", ""), 405, method, ("allow", "POST, OPTIONS")),
        (request("POST", "/webhook", ""), 401, missing, ("www-authenticate", "Bearer")),
        (request("POST", "/webhook", "X-API-Key: \r\n"), 401, missing, ("www-authenticate", "Bearer")),
        (
            request("POST", "/webhook", "Authorization: Bearer x\r\n"),
            401,
            unknown,
            ("www-authenticate", "Bearer"),
        ),
        (
            request("POST", "/calls/1", ""),
            405,
            r#"{"error":"Method not allowed","message":"This endpoint only accepts GET requests","allowed_methods":["GET","HEAD"]}"#,
            ("allow", "GET, HEAD, OPTIONS"),
        ),
        (request("GET", "/calls/1", ""), 401, missing, ("www-authenticate", "Bearer")),
        (
            request("POST", "/webhook", "X-API-Key: x\r\nContent-Length: 9999999\r\n"),
            401,
            unknown,
            ("www-authenticate", "Bearer"),
        ),
    ] {
        let reply = client.exchange(&sent).await;
        assert_eq!((reply.status, reply.body.as_str()), (status, body), "{sent}");
        assert_eq!(reply.header(header.0), header.1, "{sent}");
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        assert!(!reply.header("x-request-id").is_empty());
    }
}

#[tokio::test]
async fn a_preflight_needs_no_key() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let asked =
        "Origin: https://crm.example\r\nAccess-Control-Request-Method: POST\r\nX-Request-Id: mine\r\n";
    let reply = client.exchange(&request("OPTIONS", "/webhook.php", asked)).await;
    assert_eq!((reply.status, reply.body.as_str()), (204, ""));
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    assert_eq!(reply.header("access-control-allow-methods"), "POST, OPTIONS");
    for header in ["Content-Type", "X-API-Key", "Authorization", "Idempotency-Key"] {
        assert!(reply.header("access-control-allow-headers").contains(header), "{header}");
    }
    assert_eq!(reply.header("x-request-id"), "mine");
}

#[tokio::test]
async fn every_way_to_send_a_key_is_accepted() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for header in [
        "x-api-key: test_key_123",
        "X-API-Key: prod_key_456",
        "Authorization: Bearer test_key_123",
        "Authorization: token test_key_123",
        "Authorization: APIKEY test_key_123",
        "Authorization: test_key_123",
        "Authorization: Basic dXNlcjp0ZXN0X2tleV8xMjM=",
        "X-API-Key:\r\nAuthorization: Basic dGVzdF9rZXlfMTIzOg==",
    ] {
        let length = CALL.len();
        let sent = request("POST", "/webhook", &format!("{header}\r\nContent-Length: {length}\r\n")) + CALL;
        assert_eq!(client.exchange(&sent).await.status, 201, "{header}");
    }
}

#[tokio::test]
async fn a_database_out_of_reach_is_answered_in_time_with_retry_after() {
    let (server, _mute) = Server::start_without_database(1).await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    let mut reader = server.connect().await;
    let begun = std::time::Instant::now();
    let sent = post(CALL);
    let read = request("GET", "/calls/1", &format!("X-API-Key: {KEY}\r\nContent-Length: 4097\r\n"));
    let (first, second, unread) =
        tokio::join!(first.exchange(&sent), second.exchange(&sent), reader.exchange(&read));
    assert!(begun.elapsed().as_secs() < 5);
    // There is room for one; the other one is refused at once.
    let (failed, refused) = if first.status == 500 { (first, second) } else { (second, first) };
    let database_error = r#"{"error":"Database error","message":"Failed to insert call log into database"}"#;
    assert_eq!((failed.status, failed.body.as_str()), (500, database_error));
    assert_eq!(failed.header("retry-after"), "5");
    let read_error = r#"{"error":"Database error","message":"Failed to read call log from database"}"#;
    assert_eq!((unread.status, unread.body.as_str()), (500, read_error));
    assert_eq!(unread.header("retry-after"), "5");
    assert_eq!(unread.header("connection"), "close", "its body was not read");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.json()["error"], "Service overloaded");
    assert_eq!(refused.header("retry-after"), "1");
    server.stop().await;
}
