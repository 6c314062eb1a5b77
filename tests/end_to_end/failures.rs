//! Everything that can go wrong with a recording, and the outcome of each: one table, driven from outside.

use std::time::Duration;

use harness::{Answer, Origin, sounds};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::site::{Engine, on_both_engines};

on_both_engines!(
    every_failure_has_its_reason_and_its_number_of_attempts,
    every_redirect_and_every_address_is_judged,
);

/// Attempts before the dead letters, in these tests.
const ATTEMPTS: usize = 3;

/// Quick attempts, small recordings, little patience.
pub(crate) const SETTINGS: [(&str, &str); 8] = [
    ("CALLVINE_FETCH_ATTEMPTS", "3"),
    ("CALLVINE_FETCH_BACKOFF", "20ms"),
    ("CALLVINE_FETCH_TIMEOUT", "5s"),
    ("CALLVINE_FETCH_CONNECT_TIMEOUT", "2s"),
    ("CALLVINE_FETCH_IDLE_TIMEOUT", "3s"),
    ("CALLVINE_MAX_RECORDING", "2MiB"),
    ("CALLVINE_WORKER_CONCURRENCY", "32"),
    // All origins are one host: 127.0.0.1.
    ("CALLVINE_FETCH_PER_HOST", "32"),
];

/// How often a recording is attempted.
#[derive(Clone, Copy)]
enum Attempts {
    /// Once: no later attempt can end otherwise.
    Once,
    /// As often as the settings say.
    Often,
}

/// A good recording.
pub(crate) fn wav() -> Answer {
    Answer::wav(sounds(1).remove(0).bytes)
}

/// A recording that promises more in its own header than there is, although all bytes arrive.
fn short_wav() -> Answer {
    let bytes = sounds(1).remove(0).bytes;
    Answer::wav(bytes.slice(..bytes.len() / 2))
}

/// A recorder's header without a sample.
fn silent_wav() -> Answer {
    let mut bytes = sounds(1).remove(0).bytes.slice(..44).to_vec();
    bytes[4..8].copy_from_slice(&36_u32.to_le_bytes());
    bytes[40..44].copy_from_slice(&0_u32.to_le_bytes());
    Answer::wav(bytes)
}

fn table() -> Vec<(Answer, &'static str, Attempts)> {
    let sound = sounds(1).remove(0).bytes;
    let half = sound.len() / 2;
    let json = |status| Answer::Json { status, text: r#"{"error":"expired"}"#.to_owned() };
    vec![
        (Answer::Status(404), "not_found", Attempts::Often),
        (Answer::Status(410), "not_found", Attempts::Once),
        (Answer::Status(403), "forbidden", Attempts::Often),
        (Answer::Status(401), "forbidden", Attempts::Once),
        (Answer::Status(202), "http_status", Attempts::Often),
        (Answer::Status(400), "http_status", Attempts::Once),
        (Answer::Status(408), "http_status", Attempts::Often),
        (Answer::Status(409), "http_status", Attempts::Often),
        (Answer::Status(416), "http_status", Attempts::Often),
        (Answer::Status(425), "http_status", Attempts::Often),
        (Answer::Status(429), "http_status", Attempts::Often),
        (Answer::Status(500), "http_status", Attempts::Often),
        (Answer::Status(503), "http_status", Attempts::Often),
        (Answer::Status(304), "http_status", Attempts::Once),
        // A redirect to nowhere.
        (Answer::Status(302), "http_status", Attempts::Once),
        (json(502), "http_status", Attempts::Often),
        (Answer::RetryAfter { status: 503, value: "soon".to_owned() }, "http_status", Attempts::Often),
        (Answer::RetryAfter { status: 418, value: "1".to_owned() }, "http_status", Attempts::Once),
        (Answer::Reset, "connect", Attempts::Often),
        (Answer::Truncated { bytes: sound.clone(), sent: half }, "truncated", Attempts::Often),
        (short_wav(), "truncated", Attempts::Often),
        (Answer::Stalled { bytes: sound.clone(), sent: 0 }, "timeout", Attempts::Often),
        (Answer::Stalled { bytes: sound, sent: half }, "timeout", Attempts::Often),
        // Too slow in all, though never silent: slower than speech, and longer than CALLVINE_FETCH_TIMEOUT.
        (Answer::Slow { piece: 1, pause: Duration::from_millis(50) }, "timeout", Attempts::Often),
        (Answer::Slow { piece: 4096, pause: Duration::from_millis(200) }, "timeout", Attempts::Often),
        (Answer::empty(), "empty", Attempts::Often),
        (Answer::Status(204), "empty", Attempts::Often),
        (Answer::Status(205), "empty", Attempts::Often),
        (silent_wav(), "empty", Attempts::Often),
        (Answer::page_as_audio(), "not_audio", Attempts::Once),
        (json(200), "not_audio", Attempts::Once),
        (Answer::body("audio/mpeg", "some words"), "not_audio", Attempts::Once),
        (Answer::Large { claimed: 3 << 20 }, "too_large", Attempts::Once),
        (Answer::Endless, "too_large", Attempts::Once),
    ]
}

/// Where somebody listens who answers everything, a greeting of TLS too, in plain HTTP.
async fn without_tls() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut clients = Vec::new();
        while let Ok((mut client, _)) = listener.accept().await {
            client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await.ok();
            clients.push(client);
        }
    });
    address
}

/// Where a connection takes for ever: the queue of those that nobody accepts is full. It stays so for as long as the
/// sockets live.
async fn without_room() -> (std::net::SocketAddr, Vec<tokio::net::TcpStream>, tokio::net::TcpListener) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    let soon = Duration::from_millis(500);
    while let Ok(client) = tokio::time::timeout(soon, tokio::net::TcpStream::connect(address)).await {
        clients.push(client.unwrap());
    }
    (address, clients, listener)
}

/// Compares `GET /calls/ID` and the dead letters with a recording that was given up.
fn assert_given_up(recording: &Value, reason: &str, tried: Attempts, case: &str) {
    let attempts = match tried {
        Attempts::Once => 1,
        Attempts::Often => ATTEMPTS,
    };
    let said = json!([recording["status"], recording["reason"], recording["attempts"]]);
    assert_eq!(said, json!(["failed", reason, attempts]), "{case}: {recording}");
    assert!(recording["last_error"].as_str().is_some_and(|text| !text.is_empty()), "{case}: {recording}");
    assert!(recording["next_attempt_at"].is_null() && recording["location"].is_null(), "{case}: {recording}");
}

async fn every_failure_has_its_reason_and_its_number_of_attempts(engine: Engine) {
    let site = engine.up(&SETTINGS).await;
    // An origin each, so that one's failures don't send another's to rest.
    let mut cases = Vec::new();
    for (answer, reason, tried) in table() {
        let origin = Origin::start().await;
        let url = origin.serve("/call.wav", answer.clone());
        cases.push((
            Some(origin),
            url,
            format!("{answer:?}").chars().take(60).collect::<String>(),
            reason,
            tried,
        ));
    }
    let tls = format!("https://{}/call.wav", without_tls().await);
    cases.push((None, tls, "no TLS".to_owned(), "tls", Attempts::Often));
    let closed = format!("http://127.0.0.1:{}/call.wav", harness::free_port());
    cases.push((None, closed, "nobody listens".to_owned(), "connect", Attempts::Often));
    let (full, ..) = &without_room().await;
    cases.push((None, format!("http://{full}/call.wav"), "no room".to_owned(), "timeout", Attempts::Often));
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let greeted = format!("https://{}/call.wav", silent.local_addr().unwrap());
    cases.push((None, greeted, "no greeting".to_owned(), "timeout", Attempts::Often));
    // No such name, ever (RFC 6761).
    let unknown = "http://pbx.invalid/call.wav".to_owned();
    cases.push((None, unknown, "no address".to_owned(), "dns", Attempts::Often));

    let urls: Vec<String> = cases.iter().map(|(_, url, ..)| url.clone()).collect();
    let ids = site.post(&urls).await;
    let recordings = site.all_settled(&ids).await;
    for ((origin, _, case, reason, tried), recording) in cases.iter().zip(&recordings) {
        assert_given_up(recording, reason, *tried, case);
        if let Some(origin) = origin {
            let asked = recording["attempts"].as_u64().unwrap();
            assert_eq!(origin.count("/call.wav") as u64, asked, "{case}");
        }
    }

    let letters = site.dead_letters(&["list"]).await;
    assert_eq!(letters.len(), cases.len());
    for (id, recording) in ids.iter().zip(&recordings) {
        let letter = letters.iter().find(|letter| letter["call_id"] == *id).unwrap();
        assert_eq!((&letter["id"], &letter["kind"]), (&json!(format!("r{id}")), &json!("recording")));
        for field in ["reason", "attempts", "last_error"] {
            assert_eq!(letter[field], recording[field]);
        }
    }
    site.stop().await;
}

async fn every_redirect_and_every_address_is_judged(engine: Engine) {
    let site = engine.up(&SETTINGS).await;
    let (origin, other) = (Origin::start().await, Origin::start().await);
    let to = |to: String| Answer::Redirect { status: 302, to };
    let there = other.serve("/there", wav());
    let port = origin.address().port();
    origin.serve("/0", wav());
    for hop in 1..=4 {
        origin.serve(&format!("/{hop}"), Answer::Redirect { status: 307, to: format!("{}", hop - 1) });
    }
    let with_password = origin.serve("/away", to(there.clone())).replace("http://", "http://user:pass@");
    let stays = origin.serve("/stays", to("/0".to_owned())).replace("http://", "http://user:pass@");

    let mut blocked: Vec<String> = [
        format!("http://127.0.0.2:{port}/0"),
        format!("http://0x7f.0.0.2:{port}/0"),
        format!("http://2130706434:{port}/0"),
        format!("http://[::ffff:127.0.0.2]:{port}/0"),
        format!("http://[::1]:{port}/0"),
        format!("http://0.0.0.0:{port}/0"),
        "http://10.0.0.1/0".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "http://[fd00:ec2::254]/".to_owned(),
        "http://[64:ff9b::7f00:2]/".to_owned(),
        "http://192.168.1.1/".to_owned(),
    ]
    .to_vec();
    for (number, target) in [
        format!("http://127.0.0.2:{port}/0"),
        format!("//127.0.0.2:{port}/0"),
        "http://10.1.2.3/".to_owned(),
        "http://169.254.169.254/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "ftp://127.0.0.1/x.wav".to_owned(),
        "gopher://127.0.0.1/".to_owned(),
        "http://[/".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        blocked.push(origin.serve(&format!("/out/{number}"), to(target)));
    }
    // Bytes are kept as they come, whatever the host says of them.
    let coded = Answer::Encoded { coding: "gzip", bytes: sounds(1).remove(0).bytes };
    let coded = origin.serve("/coded", coded);
    let stored = [origin.url("/0"), origin.url("/3"), with_password, stays, there.clone(), coded];
    let endless = [origin.url("/4"), origin.serve("/loop", to("/loop".to_owned()))];

    let urls: Vec<String> = [&stored[..], &endless[..], &blocked[..]].concat();
    let ids = site.post(&urls).await;
    let recordings = site.all_settled(&ids).await;
    for ((url, recording), number) in urls.iter().zip(&recordings).zip(0..) {
        if number < stored.len() {
            assert_eq!(recording["status"], "stored", "{url}: {recording}");
        } else if number < stored.len() + endless.len() {
            assert_given_up(recording, "http_status", Attempts::Once, url);
        } else {
            assert_given_up(recording, "blocked_address", Attempts::Once, url);
        }
    }
    assert_eq!(origin.seen("/coded")[0].header("accept-encoding"), Some("identity"));
    // user:pass, to its own origin at every hop, and to no other.
    let basic = Some("Basic dXNlcjpwYXNz");
    let told = |origin: &Origin, path: &str| -> Vec<Option<String>> {
        origin.seen(path).iter().map(|seen| seen.header("authorization").map(str::to_owned)).collect()
    };
    for path in ["/away", "/stays"] {
        assert_eq!(told(&origin, path), [basic.map(str::to_owned)], "{path}");
    }
    assert_eq!(told(&origin, "/0").iter().filter(|told| told.as_deref() == basic).count(), 1);
    assert_eq!(told(&other, "/there"), [None, None]);
    site.stop().await;
}
