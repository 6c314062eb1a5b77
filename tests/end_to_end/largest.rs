//! The largest recording that is taken goes into a bucket part by part, and memory doesn't grow with it.

use std::time::Duration;

use harness::{Answer, Origin, S3, telephone_file};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::site::{Engine, on_both_engines};

on_both_engines!(the_largest_recording_is_kept_in_parts_within_bounded_memory);

/// Size, in MiB, unless `CALLVINE_SOAK_LARGEST` says otherwise: six parts, the last of them short.
const LARGEST: u64 = 41;

/// For each MiB: fetched, decoded and sent by a debug build on a busy machine, to a store in Python.
const PATIENCE_EACH: Duration = Duration::from_secs(1);

/// Most memory of the whole process, in bytes, whatever the size of a recording: a debug build before the first one,
/// and the 32 MiB that uploads may take.
const MEMORY_MAX: u64 = 140_000_000;

/// Goal: a recording of exactly `CALLVINE_MAX_RECORDING` is kept byte for byte, one byte more is refused, and memory is
/// the same for 40 MiB and 512. Method: noise, so that no two parts are alike; the store is asked for all of it.
#[expect(clippy::print_stdout, reason = "the figures of a soak are its result")]
async fn the_largest_recording_is_kept_in_parts_within_bounded_memory(engine: Engine) {
    let mebibytes = std::env::var("CALLVINE_SOAK_LARGEST").map_or(LARGEST, |text| text.parse().unwrap());
    let size_bytes = mebibytes * 1024 * 1024;
    let store = S3::start().await;
    let bucket = store.bucket().await;
    let (place, limit) = (format!("s3://{bucket}/calls"), size_bytes.to_string());
    let variables = S3::variables(store.port());
    let mut settings: Vec<_> =
        variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    settings.extend([("CALLVINE_RECORDINGS_URL", place.as_str()), ("CALLVINE_MAX_RECORDING", &limit)]);
    let site = engine.up(&settings).await;

    let origin = Origin::start().await;
    let sound = telephone_file(size_bytes);
    let sha256 = hex::encode(Sha256::digest(&sound));
    let larger = origin.serve("/larger", Answer::Large { claimed: size_bytes + 1 });
    let begun = std::time::Instant::now();
    let ids = site.post(&[origin.serve("/largest", Answer::wav(sound)), larger]).await;
    let patience = PATIENCE_EACH * u32::try_from(mebibytes).unwrap() + crate::recordings::PATIENCE;
    let recording = harness::obtained(patience, "the recording is settled", async || {
        let recording = site.call(ids[0]).await["recording"].clone();
        (recording["status"] != "pending").then_some(recording)
    })
    .await;
    let taken = begun.elapsed();
    let said = json!([recording["status"], recording["attempts"], recording["size"], recording["sha256"]]);
    assert_eq!(said, json!(["stored", 1, size_bytes, sha256]), "{recording}");
    assert_eq!(site.settled(ids[1]).await["reason"], "too_large");

    let location = recording["location"].as_str().unwrap();
    let key = location.strip_prefix(&format!("s3://{bucket}/")).unwrap();
    assert_eq!(store.digest(&bucket, key).await, (size_bytes, sha256));
    assert_eq!(store.keys(&bucket).await, [key]);
    assert!(store.uploads(&bucket).await.is_empty());
    let peak = site.peak_memory_bytes();
    println!("{mebibytes} MiB in the bucket after {taken:.1?}; {:.0} MB of memory", peak as f64 / 1e6);
    assert!(peak < MEMORY_MAX, "{peak} bytes");
    site.stop().await;
}
