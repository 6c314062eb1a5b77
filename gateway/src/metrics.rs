//! The metrics of the listeners. The recorder must be installed before they start.

use std::time::Duration;

use callvine_shared::store::Outcome;
use http::StatusCode;
use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};
use metrics::{describe_counter, describe_gauge, describe_histogram};

/// Requests answered, by route and status.
pub const REQUESTS: &str = "callvine_http_requests_total";
/// Seconds from a request's head to its answer, by route.
pub const REQUEST_DURATION: &str = "callvine_http_request_duration_seconds";
/// Open connections, by listener.
pub const CONNECTIONS: &str = "callvine_http_connections";
/// Connections closed or turned away to make room, by listener and cause: `idle` the longest, `share` of its address
/// exceeded, `unsent` answers not taken.
pub const CONNECTIONS_ENDED: &str = "callvine_http_connections_ended_total";
/// Calls stored.
pub const CALLS_ACCEPTED: &str = "callvine_calls_accepted_total";
/// Posts of a call that an earlier post had stored.
pub const CALLS_REPLAYED: &str = "callvine_calls_replayed_total";
/// Calls in one transaction.
pub const BATCH_SIZE: &str = "callvine_intake_batch_size";
/// Seconds that one transaction took.
pub const COMMIT_DURATION: &str = "callvine_intake_commit_duration_seconds";
/// Calls being read or accepted, and not yet answered.
pub const IN_FLIGHT: &str = "callvine_intake_in_flight";

/// The route that takes calls.
pub(crate) const WEBHOOK: &str = "webhook";

/// Tells the recorder what these metrics mean.
pub fn describe() {
    describe_counter!(REQUESTS, "HTTP requests answered, by route and status");
    describe_histogram!(REQUEST_DURATION, Unit::Seconds, "From a request's head to its answer, by route");
    describe_gauge!(CONNECTIONS, "Open HTTP connections, by listener");
    describe_counter!(CONNECTIONS_ENDED, "HTTP connections closed to make room, by listener and cause");
    describe_counter!(CALLS_ACCEPTED, "Calls stored durably");
    describe_counter!(CALLS_REPLAYED, "Posts answered with the answer of an earlier one");
    describe_histogram!(BATCH_SIZE, Unit::Count, "Calls stored by one transaction");
    describe_histogram!(COMMIT_DURATION, Unit::Seconds, "How long one transaction took");
    describe_gauge!(IN_FLIGHT, "Calls being read or accepted, and not yet answered");
}

/// The metrics of the public listener's answers. Those of a stored call are looked up once; the others are rare enough to
/// be looked up each time.
#[derive(Clone, Debug)]
pub(crate) struct AnswerMetrics {
    created: Counter,
    webhook_duration: Histogram,
}

impl AnswerMetrics {
    pub(crate) fn new() -> Self {
        Self {
            created: requests(WEBHOOK, StatusCode::CREATED),
            webhook_duration: histogram!(REQUEST_DURATION, "route" => WEBHOOK),
        }
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, route: &'static str, status: StatusCode, elapsed: Duration) {
        if route == WEBHOOK && status == StatusCode::CREATED {
            self.created.increment(1);
            self.webhook_duration.record(elapsed);
        } else {
            requests(route, status).increment(1);
            histogram!(REQUEST_DURATION, "route" => route).record(elapsed);
        }
    }
}

fn requests(route: &'static str, status: StatusCode) -> Counter {
    counter!(REQUESTS, "route" => route, "status" => status.as_str().to_owned())
}

pub(crate) fn connections(listener: &'static str) -> Gauge {
    gauge!(CONNECTIONS, "listener" => listener)
}

pub(crate) fn connections_ended(listener: &'static str, cause: &'static str) -> Counter {
    counter!(CONNECTIONS_ENDED, "listener" => listener, "cause" => cause)
}

/// The metrics of the intake, looked up once.
#[derive(Clone, Debug)]
pub(crate) struct IntakeMetrics {
    accepted: Counter,
    replayed: Counter,
    batch_size: Histogram,
    pub(crate) commit_duration: Histogram,
    pub(crate) in_flight: Gauge,
}

impl IntakeMetrics {
    pub(crate) fn new() -> Self {
        Self {
            accepted: counter!(CALLS_ACCEPTED),
            replayed: counter!(CALLS_REPLAYED),
            batch_size: histogram!(BATCH_SIZE),
            commit_duration: histogram!(COMMIT_DURATION),
            in_flight: gauge!(IN_FLIGHT),
        }
    }

    /// Counts a batch that was stored.
    pub(crate) fn stored(&self, outcomes: &[Outcome]) {
        let count = |is_counted: fn(&&Outcome) -> bool| {
            u32::try_from(outcomes.iter().filter(is_counted).count()).unwrap_or(u32::MAX)
        };
        let new = count(|outcome| matches!(outcome, Outcome::New(_)));
        self.batch_size.record(new);
        self.accepted.increment(new.into());
        self.replayed.increment(count(|outcome| matches!(outcome, Outcome::Same { .. })).into());
    }
}

/// Adds one to a gauge for as long as it lives.
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
