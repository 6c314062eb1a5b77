//! Everything that can go wrong with a recording, and what comes of each: one table, driven from outside.

use std::time::{Duration, SystemTime};

use harness::{Answer, Origin, sounds};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::site::{Engine, on_both_engines};

on_both_engines!(
    every_failure_has_its_reason_and_its_number_of_tries,
    a_host_that_says_when_is_asked_then,
    a_recording_that_waits_blocks_nobody_and_outlives_a_restart,
    a_host_that_rests_uses_up_nobodys_tries,
);

/// Tries before the dead letters, in these tests.
const TRIES: usize = 3;

/// Quick tries, small recordings, little patience.
pub(crate) const SETTINGS: [(&str, &str); 8] = [
    ("CALLVINE_FETCH_ATTEMPTS", "3"),
    ("CALLVINE_FETCH_BACKOFF", "20ms"),
    ("CALLVINE_FETCH_TIMEOUT", "5s"),
    ("CALLVINE_FETCH_CONNECT_TIMEOUT", "2s"),
    ("CALLVINE_FETCH_IDLE_TIMEOUT", "1s"),
    ("CALLVINE_MAX_RECORDING", "2MiB"),
    ("CALLVINE_WORKER_CONCURRENCY", "32"),
    // All origins are one host: 127.0.0.1.
    ("CALLVINE_FETCH_PER_HOST", "32"),
];

/// How often a recording is tried.
#[derive(Clone, Copy)]
pub(crate) enum Tried {
    /// Once: no later try can end otherwise.
    Once,
    /// As often as the settings say.
    Often,
}

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

fn table() -> Vec<(Answer, &'static str, Tried)> {
    let sound = sounds(1).remove(0).bytes;
    let half = sound.len() / 2;
    let json = |status| Answer::Json { status, text: r#"{"error":"expired"}"#.to_owned() };
    vec![
        (Answer::Status(404), "not_found", Tried::Often),
        (Answer::Status(410), "not_found", Tried::Once),
        (Answer::Status(403), "forbidden", Tried::Often),
        (Answer::Status(401), "forbidden", Tried::Once),
        (Answer::Status(202), "http_status", Tried::Often),
        (Answer::Status(400), "http_status", Tried::Once),
        (Answer::Status(408), "http_status", Tried::Often),
        (Answer::Status(409), "http_status", Tried::Often),
        (Answer::Status(416), "http_status", Tried::Often),
        (Answer::Status(423), "http_status", Tried::Often),
        (Answer::Status(425), "http_status", Tried::Often),
        (Answer::Status(429), "http_status", Tried::Often),
        (Answer::Status(500), "http_status", Tried::Often),
        (Answer::Status(503), "http_status", Tried::Often),
        (Answer::Status(304), "http_status", Tried::Once),
        // A redirect to nowhere.
        (Answer::Status(302), "http_status", Tried::Once),
        (json(502), "http_status", Tried::Often),
        (Answer::RetryAfter { status: 503, value: "soon".to_owned() }, "http_status", Tried::Often),
        (Answer::RetryAfter { status: 418, value: "1".to_owned() }, "http_status", Tried::Once),
        (Answer::Reset, "connect", Tried::Often),
        (Answer::Truncated { bytes: sound.clone(), sent: half }, "truncated", Tried::Often),
        (short_wav(), "truncated", Tried::Often),
        (Answer::Stalled { bytes: sound.clone(), sent: 0 }, "timeout", Tried::Often),
        (Answer::Stalled { bytes: sound, sent: half }, "timeout", Tried::Often),
        // Too slow in all, though never silent: slower than speech, and longer than CALLVINE_FETCH_TIMEOUT.
        (Answer::Slow { piece: 1, pause: Duration::from_millis(50) }, "timeout", Tried::Often),
        (Answer::Slow { piece: 4096, pause: Duration::from_millis(200) }, "timeout", Tried::Often),
        (Answer::empty(), "empty", Tried::Often),
        (Answer::Status(204), "empty", Tried::Often),
        (Answer::Status(205), "empty", Tried::Often),
        (silent_wav(), "empty", Tried::Often),
        (Answer::page_as_audio(), "not_audio", Tried::Once),
        (json(200), "not_audio", Tried::Once),
        (Answer::body("audio/mpeg", "some words"), "not_audio", Tried::Once),
        (Answer::Large { claimed: 3 << 20 }, "too_large", Tried::Once),
        (Answer::Endless, "too_large", Tried::Once),
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

/// What `GET /calls/ID` and the dead letters say of a recording that was given up.
pub(crate) fn assert_given_up(recording: &Value, reason: &str, tried: Tried, case: &str) {
    let attempts = match tried {
        Tried::Once => 1,
        Tried::Often => TRIES,
    };
    let said = json!([recording["status"], recording["reason"], recording["attempts"]]);
    assert_eq!(said, json!(["failed", reason, attempts]), "{case}: {recording}");
    assert!(recording["last_error"].as_str().is_some_and(|text| !text.is_empty()), "{case}: {recording}");
    assert!(recording["next_attempt_at"].is_null() && recording["location"].is_null(), "{case}: {recording}");
}

async fn every_failure_has_its_reason_and_its_number_of_tries(engine: Engine) {
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
    cases.push((None, tls, "no TLS".to_owned(), "tls", Tried::Often));
    let closed = format!("http://127.0.0.1:{}/call.wav", harness::free_port());
    cases.push((None, closed, "nobody listens".to_owned(), "connect", Tried::Often));
    let (full, ..) = &without_room().await;
    cases.push((None, format!("http://{full}/call.wav"), "no room".to_owned(), "timeout", Tried::Often));
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let greeted = format!("https://{}/call.wav", silent.local_addr().unwrap());
    cases.push((None, greeted, "no greeting".to_owned(), "timeout", Tried::Often));
    // No such name, ever (RFC 6761).
    let unknown = "http://pbx.invalid/call.wav".to_owned();
    cases.push((None, unknown, "no address".to_owned(), "dns", Tried::Often));

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

async fn a_host_that_says_when_is_asked_then(engine: Engine) {
    let site = engine.up(&SETTINGS).await;
    let origin = Origin::start().await;
    // Dates have whole seconds: this one is a second away at the least.
    let in_two_seconds = chrono::DateTime::<chrono::Utc>::from(SystemTime::now() + Duration::from_secs(3));
    let date = in_two_seconds.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let first = |status, value: &str| vec![Answer::RetryAfter { status, value: value.to_owned() }];
    let urls = [
        origin.serve_in_turn("/seconds", first(503, "2"), wav()),
        origin.serve_in_turn("/date", first(429, &date), wav()),
        origin.serve_in_turn("/not-ready", first(404, "1"), wav()),
    ];
    let ids = site.post(&urls).await;
    for (path, (id, least)) in
        ["/seconds", "/date", "/not-ready"].into_iter().zip(ids.iter().zip([2.0, 0.5, 1.0]))
    {
        let recording = site.settled(*id).await;
        assert_eq!(
            (&recording["status"], &recording["attempts"]),
            (&json!("stored"), &json!(2)),
            "{recording}"
        );
        assert!(recording["last_error"].is_null() && recording["reason"].is_null(), "{recording}");
        let seen = origin.seen(path);
        let waited = (seen[1].at - seen[0].at).as_secs_f64();
        assert!(waited >= least, "{path}: asked again after {waited} s");
    }
    site.stop().await;
}

async fn a_recording_that_waits_blocks_nobody_and_outlives_a_restart(engine: Engine) {
    let one_at_once = [("CALLVINE_WORKER_CONCURRENCY", "1"), ("CALLVINE_FETCH_PER_HOST", "1")];
    let site = engine.up(&one_at_once).await;
    let origin = Origin::start().await;
    let later = Answer::RetryAfter { status: 503, value: "86400".to_owned() };
    let mut urls = vec![origin.serve("/later", later)];
    urls.extend((0..20).map(|number| origin.serve(&format!("/{number}"), wav())));
    let ids = site.post(&urls).await;
    for recording in site.all_settled(&ids[1..]).await {
        assert_eq!(recording["status"], "stored");
    }
    let waits = harness::obtained(crate::recordings::PATIENCE, "it was tried once", async || {
        let recording = site.call(ids[0]).await["recording"].clone();
        (recording["attempts"] == 1).then_some(recording)
    })
    .await;
    assert_eq!(waits["status"], "pending");
    assert!(waits["reason"].is_null(), "it isn't given up: {waits}");
    assert_eq!(waits["last_error"], "the host answered 503");
    let next = waits["next_attempt_at"].as_str().unwrap();
    let next = chrono::NaiveDateTime::parse_from_str(next, "%Y-%m-%d %H:%M:%S").unwrap().and_utc();
    let wait = (next - chrono::Utc::now()).num_seconds();
    assert!((3500..=3600).contains(&wait), "a host's wish is granted up to an hour: {wait} s");

    let site = site.stop().await.up(&one_at_once).await;
    let more = site.post(&[origin.serve("/more", wav())]).await;
    assert_eq!(site.settled(more[0]).await["status"], "stored");
    let still = site.call(ids[0]).await["recording"].clone();
    assert_eq!(still, waits, "nothing of it is lost");
    assert_eq!(origin.count("/later"), 1, "and it isn't asked for before its time");
    site.stop().await;
}

/// Goal: what was not asked for is not a try. Method: a host fails for so many recordings that it is sent to rest; then
/// it is well again. Each recording has two tries, and there are as many tries as there were requests.
async fn a_host_that_rests_uses_up_nobodys_tries(engine: Engine) {
    let settings = [
        ("CALLVINE_FETCH_ATTEMPTS", "2"),
        ("CALLVINE_FETCH_BACKOFF", "200ms"),
        ("CALLVINE_FETCH_PER_HOST", "2"),
    ];
    let site = engine.up(&settings).await;
    let origin = Origin::start().await;
    let paths: Vec<String> = (0..60).map(|number| format!("/{number}")).collect();
    let urls: Vec<String> = paths.iter().map(|path| origin.serve(path, Answer::Status(500))).collect();
    let ids = site.post(&urls).await;
    let resting = "a host that fails eight recordings is sent to rest";
    let metrics = site.metrics();
    harness::eventually(crate::recordings::PATIENCE, resting, async || {
        let text = harness::http_client().get(&metrics).send().await.unwrap().text().await.unwrap();
        text.lines().any(|line| line == "callvine_fetch_breaker_opened_total 1")
    })
    .await;
    for path in &paths {
        origin.serve(path, wav());
    }
    let recordings = site.all_settled(&ids).await;
    for (path, recording) in paths.iter().zip(&recordings) {
        assert_eq!(recording["attempts"], origin.count(path), "what was asked for is what was tried");
        assert!(recording["status"] == "stored" || recording["attempts"] == 2, "{recording}");
    }
    let stored = recordings.iter().filter(|recording| recording["status"] == "stored").count();
    assert!(stored >= 50, "only {stored} of 60 are stored");
    site.stop().await;
}
