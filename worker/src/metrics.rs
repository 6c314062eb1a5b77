//! The metrics of the worker.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, histogram};

/// Hosts that rest because they keep failing.
pub(crate) const RESTING_HOSTS: &str = "callvine_fetch_resting_hosts";
/// How often a host was sent to rest.
pub(crate) const BREAKER_OPENED: &str = "callvine_fetch_breaker_opened_total";
/// How often a broken transfer was resumed.
pub(crate) const RESUMES: &str = "callvine_fetch_resumes_total";
const SETTLED: &str = "callvine_recordings_total";
const FETCH_SECONDS: &str = "callvine_recording_fetch_seconds";
const FETCHED_BYTES: &str = "callvine_recording_fetched_bytes_total";
const ANALYSES_SETTLED: &str = "callvine_analyses_total";
const ANALYSIS_SECONDS: &str = "callvine_analysis_seconds";

/// Gives the recorder the help texts of these metrics.
pub fn describe() {
    describe_counter!(
        SETTLED,
        "Attempts at recordings by result: stored, retried (to be attempted again), failed, postponed (not attempted, \
         since its host rests, or there is no permit for it), or lost (its message was lost, and it is queued again)"
    );
    describe_gauge!(RESTING_HOSTS, "Hosts that rest because they kept failing");
    describe_counter!(BREAKER_OPENED, "Times that a host was sent to rest");
    describe_counter!(RESUMES, "Transfers that broke and were resumed where they broke");
    describe_histogram!(
        FETCH_SECONDS,
        Unit::Seconds,
        "Time to fetch a recording, from the request to the last byte"
    );
    describe_counter!(FETCHED_BYTES, Unit::Bytes, "Bytes of recordings fetched");
    describe_counter!(
        ANALYSES_SETTLED,
        "Attempts at analyses by result: completed, retried (to be attempted again) or failed"
    );
    describe_histogram!(ANALYSIS_SECONDS, Unit::Seconds, "Time to analyse a recording");
}

/// An attempt ended: `stored`, `retried`, `failed`, `postponed` or `lost`.
pub(crate) fn settled(result: &'static str) {
    counter!(SETTLED, "result" => result).increment(1);
}

/// A recording was fetched.
pub(crate) fn fetched(took: Duration, size_bytes: u64) {
    histogram!(FETCH_SECONDS).record(took.as_secs_f64());
    counter!(FETCHED_BYTES).increment(size_bytes);
}

/// An attempt at an analysis ended: `completed`, `retried` or `failed`.
pub(crate) fn analysis_settled(result: &'static str) {
    counter!(ANALYSES_SETTLED, "result" => result).increment(1);
}

/// A recording was analysed, or an attempt to do so failed.
pub(crate) fn analysed(took: Duration) {
    histogram!(ANALYSIS_SECONDS).record(took.as_secs_f64());
}
