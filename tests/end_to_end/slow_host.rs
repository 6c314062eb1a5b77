//! A host that keeps everybody waiting keeps only its own recordings waiting.

use std::net::Ipv4Addr;

use harness::{Answer, Origin, telephone_sound};

use crate::recordings::PATIENCE;
use crate::site::{Engine, on_both_engines};

on_both_engines!(one_slow_host_does_not_slow_the_others);

/// Recordings of each host: several times what a worker fetches at once.
const RECORDINGS: usize = 40;

/// Goal: a host that sends nothing takes up its own permits, and no more. Method: its recordings come first, many more
/// than a worker fetches at once, and it is waited for longer than the test lasts; all of another host's are stored
/// meanwhile.
async fn one_slow_host_does_not_slow_the_others(engine: Engine) {
    let settings = [
        ("CALLVINE_FETCH_ALLOW", "127.0.0.0/8"),
        ("CALLVINE_WORKER_CONCURRENCY", "8"),
        ("CALLVINE_FETCH_PER_HOST", "2"),
        ("CALLVINE_FETCH_IDLE_TIMEOUT", "5m"),
    ];
    let site = engine.up(&settings).await;
    let (slow, quick) = (Origin::start().await, Origin::start_at(Ipv4Addr::new(127, 0, 0, 2)).await);
    let sound = telephone_sound(1);
    let stalled = Answer::Stalled { bytes: sound.clone().into(), sent: 1000 };
    let slow_urls: Vec<String> =
        (0..RECORDINGS).map(|number| slow.serve(&format!("/{number}"), stalled.clone())).collect();
    let quick_urls: Vec<String> = (0..RECORDINGS)
        .map(|number| quick.serve(&format!("/{number}"), Answer::wav(sound.clone())))
        .collect();
    let asked = |origin: &Origin| -> usize {
        (0..RECORDINGS).map(|number| origin.count(&format!("/{number}"))).sum()
    };
    let slow_ids = site.post(&slow_urls).await;
    harness::eventually(PATIENCE, "the slow host is asked", async || asked(&slow) == 2).await;
    let quick_ids = site.post(&quick_urls).await;
    for recording in site.all_settled(&quick_ids).await {
        assert_eq!(recording["status"], "stored", "{recording}");
        assert_eq!(recording["attempts"], 1);
    }
    assert_eq!(asked(&slow), 2, "as many at once as it has permits");
    for id in slow_ids {
        let recording = site.call(id).await["recording"].clone();
        assert_eq!((&recording["status"], &recording["attempts"]), (&"pending".into(), &0.into()));
    }
    // Its connections end, so that the stop need not wait for them.
    drop(slow);
    site.stop().await;
}
