//! Recordings that wait: for the time that their host names, for the host to recover, over a restart.

use std::time::{Duration, Instant, SystemTime};

use harness::{Answer, Origin};
use serde_json::json;

use crate::failures::{SETTINGS, wav};
use crate::site::{Engine, on_both_engines};

on_both_engines!(
    a_host_that_says_when_is_asked_then,
    a_recording_that_waits_blocks_nobody_and_outlives_a_restart,
    a_host_that_rests_uses_up_no_attempt,
);

async fn a_host_that_says_when_is_asked_then(engine: Engine) {
    let site = engine.up(&SETTINGS).await;
    let origin = Origin::start().await;
    // Dates have whole seconds: this one is two seconds away at the least.
    let in_seconds = Duration::from_secs(3);
    let date = chrono::DateTime::<chrono::Utc>::from(SystemTime::now() + in_seconds);
    let earliest = Instant::now() + in_seconds - Duration::from_secs(1);
    let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let first = |status, value: &str| vec![Answer::RetryAfter { status, value: value.to_owned() }];
    let urls = [
        origin.serve_in_turn("/seconds", first(503, "2"), wav()),
        origin.serve_in_turn("/date", first(429, &date), wav()),
        origin.serve_in_turn("/not-ready", first(404, "1"), wav()),
    ];
    let ids = site.post(&urls).await;
    for (path, (id, least)) in
        ["/seconds", "/date", "/not-ready"].into_iter().zip(ids.iter().zip([2.0, 0.0, 1.0]))
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
    let asked = origin.seen("/date")[1].at;
    assert!(asked >= earliest, "asked {:?} too early", earliest - asked);
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

/// Goal: a fetch that asked no host is not an attempt. Method: a host fails for so many recordings that it is sent to
/// rest; then it is well again. Each recording has two attempts, and there are as many attempts as there were requests.
async fn a_host_that_rests_uses_up_no_attempt(engine: Engine) {
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
