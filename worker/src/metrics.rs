//! What the worker counts.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

const SETTLED: &str = "callvine_recordings_total";
const FETCH_SECONDS: &str = "callvine_recording_fetch_seconds";
const FETCHED_BYTES: &str = "callvine_recording_fetched_bytes_total";

/// Tells the recorder what these metrics mean.
pub fn describe() {
    describe_counter!(
        SETTLED,
        "Tries of recordings by result: stored, retried (to be tried again) or failed"
    );
    describe_histogram!(
        FETCH_SECONDS,
        Unit::Seconds,
        "Time to fetch a recording, from the request to the last byte"
    );
    describe_counter!(FETCHED_BYTES, Unit::Bytes, "Bytes of recordings fetched");
}

/// A try ended: `stored`, `retried` or `failed`.
pub(crate) fn settled(result: &'static str) {
    counter!(SETTLED, "result" => result).increment(1);
}

/// A recording was fetched.
pub(crate) fn fetched(took: Duration, size_bytes: u64) {
    histogram!(FETCH_SECONDS).record(took.as_secs_f64());
    counter!(FETCHED_BYTES).increment(size_bytes);
}
