//! Many recordings from hosts that fail one request in five, in every way: each ends stored, or dead with the right
//! reason and number of attempts; and when the hosts are mended, every dead letter is stored after all.

use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{Answer, Origin, Sound, sounds};
use serde_json::{Value, json};

use crate::recordings::PATIENCE;
use crate::site::{Engine, Site, on_both_engines};

on_both_engines!(every_recording_ends_stored_or_dead_with_the_right_reason);

/// Recordings, unless `CALLVINE_SOAK_RECORDINGS` says otherwise: enough for every fault to come many times.
const RECORDINGS: usize = 300;

/// Added to the usual patience for each recording: a busy machine settles more than ten a second.
const PATIENCE_EACH: Duration = Duration::from_millis(100);

/// Recordings that the origins serve, in turn.
const SOUNDS: usize = 20;

/// Attempts before the dead letters.
const ATTEMPTS: usize = 3;

/// How many requests are answered with a fault: one in so many.
const ONE_IN: u32 = 5;

const SETTINGS: [(&str, &str); 7] = [
    ("CALLVINE_FETCH_ATTEMPTS", "3"),
    ("CALLVINE_FETCH_BACKOFF", "100ms"),
    ("CALLVINE_FETCH_IDLE_TIMEOUT", "1s"),
    ("CALLVINE_MAX_RECORDING", "4MiB"),
    ("CALLVINE_WORKER_CONCURRENCY", "32"),
    ("CALLVINE_FETCH_PER_HOST", "32"),
    ("RUST_LOG", "error"),
];

/// A fault, the reason that it is given up for, and whether it is attempted again.
fn fault(sound: &Bytes) -> (Answer, &'static str, bool) {
    let half = sound.len() / 2;
    match fastrand::u8(..18) {
        0 => (Answer::Status(404), "not_found", true),
        1 => (Answer::Status(410), "not_found", false),
        2 => (Answer::Status(403), "forbidden", true),
        3 => (Answer::Status(401), "forbidden", false),
        4 => (Answer::Status(409), "http_status", true),
        5 => (Answer::Status(425), "http_status", true),
        6 => (Answer::Status(408), "http_status", true),
        7 => (Answer::RetryAfter { status: 429, value: "1".to_owned() }, "http_status", true),
        8 => (Answer::Status(500), "http_status", true),
        9 => (Answer::RetryAfter { status: 503, value: "1".to_owned() }, "http_status", true),
        10 => (Answer::Reset, "connect", true),
        11 => (Answer::Truncated { bytes: sound.clone(), sent: half }, "truncated", true),
        12 => (Answer::Stalled { bytes: sound.clone(), sent: half }, "timeout", true),
        13 => (Answer::empty(), "empty", true),
        14 => (Answer::page_as_audio(), "not_audio", false),
        15 => (Answer::Large { claimed: 5 << 20 }, "too_large", false),
        16 => {
            (Answer::Redirect { status: 302, to: "http://127.0.0.2/".to_owned() }, "blocked_address", false)
        }
        _ => (Answer::Status(400), "http_status", false),
    }
}

/// The answers of one recording's host, and the outcome that they must lead to.
struct Plan {
    path: String,
    faults: Vec<Answer>,
    /// `None`: the attempt after the faults stores it.
    given_up: Option<&'static str>,
}

impl Plan {
    fn draw(number: usize, sound: &Sound) -> Self {
        let (mut faults, mut given_up) = (Vec::new(), None);
        while given_up.is_none() && fastrand::u32(..ONE_IN) == 0 {
            let (answer, reason, is_tried_again) = fault(&sound.bytes);
            faults.push(answer);
            if !is_tried_again || faults.len() == ATTEMPTS {
                given_up = Some(reason);
            }
        }
        Self { path: format!("/{number}.wav"), faults, given_up }
    }

    fn assert_settled(&self, recording: &Value, sound: &Sound) {
        let tries = self.faults.len() + usize::from(self.given_up.is_none());
        let status = if self.given_up.is_some() { "failed" } else { "stored" };
        let said = json!([recording["status"], recording["reason"], recording["attempts"]]);
        assert_eq!(said, json!([status, self.given_up, tries]), "{:?}: {recording}", self.faults);
        if self.given_up.is_none() {
            assert_eq!(recording["sha256"], sound.sha256);
        }
    }
}

#[expect(clippy::print_stdout, reason = "the figures of a soak are its result")]
async fn every_recording_ends_stored_or_dead_with_the_right_reason(engine: Engine) {
    let count = std::env::var("CALLVINE_SOAK_RECORDINGS").map_or(RECORDINGS, |text| text.parse().unwrap());
    let name = engine.amqp_url().map_or("SQLite, in process", |_| "PostgreSQL, RabbitMQ");
    let site = engine.up(&SETTINGS).await;
    let origin = Origin::start().await;
    let sounds = sounds(SOUNDS);
    let sound = |number: usize| &sounds[number % SOUNDS];
    let plans: Vec<Plan> = (0..count).map(|number| Plan::draw(number, sound(number))).collect();
    let whole = |number: usize| Answer::wav(sound(number).bytes.clone());
    let urls: Vec<String> = plans
        .iter()
        .enumerate()
        .map(|(number, plan)| origin.serve_in_turn(&plan.path, plan.faults.clone(), whole(number)))
        .collect();

    let begun = Instant::now();
    let ids = site.post(&urls).await;
    let posted = begun.elapsed();
    none_pending(&site, count).await;
    let settled = begun.elapsed();
    let recordings = site.all_settled(&ids).await;
    for (number, (plan, recording)) in plans.iter().zip(&recordings).enumerate() {
        plan.assert_settled(recording, sound(number));
        assert_eq!(recording["attempts"], origin.count(&plan.path), "{}", plan.path);
    }
    let dead = plans.iter().filter(|plan| plan.given_up.is_some()).count();
    assert_eq!(site.dead_letters(&["list"]).await.len(), dead);

    let revived = mend(&site, &plans, &ids).await;
    let faults: usize = plans.iter().map(|plan| plan.faults.len()).sum();
    println!(
        "{name}: {count} recordings posted in {posted:.1?}, settled after {settled:.1?}: {} stored, {dead} dead, \
         {faults} faults; all {revived} dead ones stored after their retry",
        count - dead,
    );
    site.stop().await;
}

/// Waits in the database, since thousands of questions at the gateway would be a load of their own.
async fn none_pending(site: &Site, count: usize) {
    let deadline = PATIENCE + PATIENCE_EACH * u32::try_from(count).unwrap();
    let database = site.engine.database();
    harness::eventually(deadline, "every recording is settled", async || {
        database.count("from recordings where status = 'pending'").await == Some(0)
    })
    .await;
}

/// The hosts are mended: their recordings come whole from now on. Has every dead letter attempted again; returns how
/// many.
async fn mend(site: &Site, plans: &[Plan], ids: &[i64]) -> usize {
    let dead: Vec<i64> =
        plans.iter().zip(ids).filter(|(plan, _)| plan.given_up.is_some()).map(|(_, id)| *id).collect();
    let queued = site.dead_letters(&["retry", "--all"]).await;
    assert_eq!(queued.len(), dead.len());
    none_pending(site, dead.len()).await;
    for recording in site.all_settled(&dead).await {
        assert_eq!(recording["status"], "stored", "{recording}");
    }
    assert!(site.dead_letters(&["list"]).await.is_empty());
    dead.len()
}
