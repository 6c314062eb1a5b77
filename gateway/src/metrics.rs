//! What the listeners count. The recorder must be installed before they start.

use std::time::Duration;

use http::StatusCode;
use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};
use metrics::{describe_counter, describe_gauge, describe_histogram};

/// Requests answered, by route and status.
pub const REQUESTS: &str = "callvine_http_requests_total";
/// Seconds from a request's head to its answer, by route.
pub const REQUEST_DURATION: &str = "callvine_http_request_duration_seconds";
/// Open connections, by listener.
pub const CONNECTIONS: &str = "callvine_http_connections";
/// Calls stored.
pub const CALLS_ACCEPTED: &str = "callvine_calls_accepted_total";
/// Calls in one transaction.
pub const BATCH_SIZE: &str = "callvine_intake_batch_size";
/// Seconds that one transaction took.
pub const COMMIT_DURATION: &str = "callvine_intake_commit_duration_seconds";
/// Calls accepted and not yet answered.
pub const IN_FLIGHT: &str = "callvine_intake_in_flight";

/// Buckets for the durations: from a commit on a fast disk to the deadline of an answer.
pub const DURATION_BUCKETS: [f64; 14] =
    [0.000_5, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Buckets for [`BATCH_SIZE`]: up to the largest batch.
pub const BATCH_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Tells the recorder what these metrics mean.
pub fn describe() {
    describe_counter!(REQUESTS, "HTTP requests answered, by route and status");
    describe_histogram!(REQUEST_DURATION, Unit::Seconds, "From a request's head to its answer, by route");
    describe_gauge!(CONNECTIONS, "Open HTTP connections, by listener");
    describe_counter!(CALLS_ACCEPTED, "Calls stored durably");
    describe_histogram!(BATCH_SIZE, Unit::Count, "Calls stored by one transaction");
    describe_histogram!(COMMIT_DURATION, Unit::Seconds, "How long one transaction took");
    describe_gauge!(IN_FLIGHT, "Calls accepted and not yet answered");
}

/// Counts an answer.
pub(crate) fn answered(route: &'static str, status: StatusCode, elapsed: Duration) {
    counter!(REQUESTS, "route" => route, "status" => status.as_str().to_owned()).increment(1);
    histogram!(REQUEST_DURATION, "route" => route).record(elapsed);
}

pub(crate) fn connections(listener: &'static str) -> Gauge {
    gauge!(CONNECTIONS, "listener" => listener)
}

/// What the intake counts, looked up once.
#[derive(Clone, Debug)]
pub(crate) struct IntakeMetrics {
    pub(crate) accepted: Counter,
    pub(crate) batch_size: Histogram,
    pub(crate) commit_duration: Histogram,
    pub(crate) in_flight: Gauge,
}

impl IntakeMetrics {
    pub(crate) fn new() -> Self {
        Self {
            accepted: counter!(CALLS_ACCEPTED),
            batch_size: histogram!(BATCH_SIZE),
            commit_duration: histogram!(COMMIT_DURATION),
            in_flight: gauge!(IN_FLIGHT),
        }
    }
}

/// Counts one more as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted(Gauge);

impl Counted {
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
