//! Recordings that are made to hurt their reader hurt nothing but themselves.

use std::fs;
use std::time::{Duration, Instant};

use harness::{Answer, Hostile, Origin, PATIENCE, eventually, sounds};
use serde_json::Value;

use crate::site::{Engine, Site, on_both_engines};

on_both_engines!(
    hostile_recordings_fail_alone,
    a_stop_ends_in_time_whatever_a_recording_does,
    a_worker_that_is_killed_in_a_proof_finds_the_attempt_counted_and_leaves_no_process,
    a_recording_that_kills_its_worker_in_its_last_attempt_is_given_up_without_another,
);

/// Good recordings beside the hostile ones.
const GOOD: usize = 20;

/// Attempts at each recording.
const ATTEMPTS: i64 = 2;

/// Most memory of the worker itself: a file that grows in it instead of in a cell would take more.
const MEMORY_MAX: u64 = 250_000_000;

/// Reasons of which one is a hostile file's, by its kind. Where two are named, it depends on the build and the machine
/// whether the reader comes to the point before its time is up.
fn reasons(name: &str) -> &'static [&'static str] {
    match name {
        "codebooks" | "no byte of sound" | "seek points in falling order" => &["not_audio"],
        // A run without sound may be found empty.
        _ => &["not_audio", "timeout", "empty"],
    }
}

/// Goal: files of which each has killed the process or stopped every recording cost their own call alone. Method: one of
/// each kind is posted, then good recordings, with a deadline of seconds.
async fn hostile_recordings_fail_alone(engine: Engine) {
    let origin = Origin::start().await;
    let settings = [
        ("CALLVINE_PROOF_TIMEOUT", "6s"),
        ("CALLVINE_FETCH_ATTEMPTS", "2"),
        ("CALLVINE_FETCH_BACKOFF", "100ms"),
        ("CALLVINE_FETCH_PER_HOST", "16"),
    ];
    let site = engine.up(&settings).await;
    let hostile = Hostile::all();
    let serve =
        |number: usize, bytes: &[u8]| origin.serve(&format!("/{number}"), Answer::wav(bytes.to_vec()));
    let hostile_urls: Vec<String> =
        hostile.iter().enumerate().map(|(i, file)| serve(i, &file.bytes)).collect();
    let sounds = sounds(GOOD);
    let good_urls: Vec<String> = sounds.iter().enumerate().map(|(i, it)| serve(100 + i, &it.bytes)).collect();
    let hostile_ids = site.post(&hostile_urls).await;
    let good_ids = site.post(&good_urls).await;
    for (recording, sound) in site.all_settled(&good_ids).await.iter().zip(&sounds) {
        assert_eq!(recording["status"], "stored", "{recording}");
        assert_eq!(
            (&recording["attempts"], &recording["sha256"]),
            (&1.into(), &sound.sha256.as_str().into())
        );
    }
    for ((recording, file), id) in site.all_settled(&hostile_ids).await.iter().zip(&hostile).zip(&hostile_ids)
    {
        assert_eq!(recording["status"], "failed", "{}: {recording}", file.name);
        let reason = recording["reason"].as_str().unwrap();
        assert!(reasons(file.name).contains(&reason), "{}: {recording}", file.name);
        let attempts = recording["attempts"].as_i64().unwrap();
        let was_killed = site.log().contains(&format!("the recording of call {id} was killed in its cell"));
        assert_eq!(attempts, if was_killed { ATTEMPTS } else { 1 }, "{}: {recording}", file.name);
        let is_said = recording["last_error"].as_str().is_some_and(|text| text.contains("the recording"));
        assert!(is_said, "{}: {recording}", file.name);
    }
    let memory = site.peak_memory_bytes();
    assert!(memory < MEMORY_MAX, "{memory} bytes");
    let metrics = site.metrics_text().await;
    assert!(metrics.contains("callvine_proofs_killed_total{reason=\"memory\"}"), "{metrics}");
    assert!(metrics.contains("callvine_proofs_killed_total{reason=\"deadline\"}"), "{metrics}");
    assert!(metrics.lines().any(|line| line == "callvine_proofs_running 0"), "{metrics}");
    assert_no_leftovers(&site);
    site.stop().await;
}

/// No zombie, no more children than processors, and no file that was fetched is still open.
fn assert_no_leftovers(site: &Site) {
    let children = harness::children(site.pid());
    assert!(children.iter().all(|child| !harness::has_ended(*child)), "{children:?} has a zombie");
    let processors = std::thread::available_parallelism().unwrap().get();
    assert!(children.len() <= processors, "{children:?}");
    let open = |pid: rustix::process::Pid| -> Vec<String> {
        let files = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_pid())).unwrap();
        files
            .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
            .map(|path| path.display().to_string())
            .collect()
    };
    let staged: Vec<String> = open(site.pid())
        .into_iter()
        .filter(|path| path.contains("(deleted)") || path.contains("staging"))
        .collect();
    assert!(staged.is_empty(), "{staged:?}");
    for child in children {
        // The sockets are standard input and its copy; the file in /proc is how the child measures its memory.
        for path in open(child) {
            let is_own = path == "/dev/null" || path.starts_with("socket:") || path.ends_with("/statm");
            assert!(is_own, "a child has {path} open");
        }
    }
}

/// A site with this setting, and with a hostile recording in its cell; the call's id.
async fn in_the_middle_of_a_proof(engine: Engine, origin: &Origin, setting: (&str, &str)) -> (Site, i64) {
    let site = engine.up(&[setting]).await;
    let url = origin.serve("/hostile", Answer::wav(Hostile::endless().bytes));
    let id = site.post(&[url]).await[0];
    eventually(PATIENCE, "the attempt is counted, and the proof under way", async || {
        let metrics = site.metrics_text().await;
        metrics.lines().any(|line| line == "callvine_proofs_running 1")
            && site.call(id).await["recording"]["attempts"] == 1
    })
    .await;
    (site, id)
}

/// Goal: a stop needs no recording's consent, and the next start finds the data free and the attempt counted.
async fn a_stop_ends_in_time_whatever_a_recording_does(engine: Engine) {
    let origin = Origin::start().await;
    let (site, id) = in_the_middle_of_a_proof(engine, &origin, ("CALLVINE_SHUTDOWN_TIMEOUT", "5s")).await;
    let children = harness::children(site.pid());
    let started = Instant::now();
    let engine = site.stop().await;
    // Five seconds by its setting; the proof itself would go on for more than a minute.
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert_gone(&children).await;
    origin.serve("/hostile", Answer::wav(sounds(1)[0].bytes.clone()));
    let site = engine.up(&[]).await;
    assert_attempts(&site.stored(id).await);
    site.stop().await;
}

/// Goal: what kills its worker uses up its attempts. Method: the worker is killed by hand.
async fn a_worker_that_is_killed_in_a_proof_finds_the_attempt_counted_and_leaves_no_process(engine: Engine) {
    let origin = Origin::start().await;
    let (site, id) = in_the_middle_of_a_proof(engine, &origin, ("CALLVINE_PROOF_TIMEOUT", "4m")).await;
    let children = harness::children(site.pid());
    let engine = site.kill();
    assert_gone(&children).await;
    origin.serve("/hostile", Answer::wav(sounds(1)[0].bytes.clone()));
    let site = engine.up(&[]).await;
    assert_attempts(&site.stored(id).await);
    site.stop().await;
}

/// Goal: the attempts of a recording are never more than the setting, and one that kills its worker is given up. Method: the
/// worker is killed by hand in the only attempt; the next one would find the recording good.
async fn a_recording_that_kills_its_worker_in_its_last_attempt_is_given_up_without_another(engine: Engine) {
    let origin = Origin::start().await;
    let once = ("CALLVINE_FETCH_ATTEMPTS", "1");
    let (site, id) = in_the_middle_of_a_proof(engine, &origin, once).await;
    let engine = site.kill();
    origin.serve("/hostile", Answer::wav(sounds(1)[0].bytes.clone()));
    let site = engine.up(&[once]).await;
    let recording = site.settled(id).await;
    let said = (&recording["status"], &recording["attempts"], &recording["reason"]);
    assert_eq!(said, (&"failed".into(), &1.into(), &"timeout".into()), "{recording}");
    assert!(recording["last_error"].as_str().unwrap().contains("used up"), "{recording}");
    site.stop().await;
}

/// Goal: two processes never work on one data directory, whatever the first one still does while it stops. Method: a
/// recording holds the shutdown for longer than the second start takes.
#[tokio::test]
async fn a_second_up_that_starts_during_a_stop_is_refused_until_the_first_has_ended() {
    let origin = Origin::start().await;
    let setting = ("CALLVINE_SHUTDOWN_TIMEOUT", "30s");
    let (mut site, id) = in_the_middle_of_a_proof(Engine::embedded(), &origin, setting).await;
    site.begin_stop();
    eventually(PATIENCE, "the stop has begun", async || site.log().contains("stopping;")).await;
    let second = site.engine.command("up").run().await;
    site.assert_running();
    second.assert_code(1);
    assert!(second.stderr.contains("another callvine is using"), "{}", second.stderr);
    let engine = site.stopped().await;
    origin.serve("/hostile", Answer::wav(sounds(1)[0].bytes.clone()));
    let site = engine.up(&[]).await;
    assert_attempts(&site.stored(id).await);
    site.stop().await;
}

fn assert_attempts(recording: &Value) {
    assert_eq!(recording["attempts"], 2, "the first one is counted: {recording}");
}

async fn assert_gone(children: &[rustix::process::Pid]) {
    assert!(!children.is_empty());
    eventually(PATIENCE, "the children are gone", async || {
        children.iter().all(|child| harness::has_ended(*child))
    })
    .await;
}
