//! The scenarios, with their names and subjects.

use serde::Serialize;

use crate::subject::Subject;

/// The case of subjects that have no connections to vary.
pub(crate) const ALONE: &str = "alone";

/// The case of usual recordings.
pub(crate) const FETCH: &str = "1 MB recordings, 16 at once";
/// The case of large recordings, which shows the memory.
pub(crate) const FETCH_LARGE: &str = "200 MB recordings, 64 at once";

/// A scenario: one section of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
pub(crate) enum Scenario {
    /// Every connection busy: calls a second
    Throughput,
    /// A fixed number of calls a second: latency
    Rates,
    /// Many calls at once: until all are answered, and all events confirmed
    Burst,
    /// One call at a time, with pauses: whether it waits for others
    Lonely,
    /// Tables that are full before the first call: calls a second
    Sizes,
    /// Larger calls: calls a second
    Bodies,
    /// An hour of load on one instance: whether the outbox stays small
    Bloat,
    /// Recordings, fetched, checked and kept: recordings a second
    Fetch,
}

impl Scenario {
    /// All scenarios, in the report's order.
    pub(crate) const ALL: [Self; 8] = [
        Self::Throughput,
        Self::Rates,
        Self::Burst,
        Self::Lonely,
        Self::Sizes,
        Self::Bodies,
        Self::Bloat,
        Self::Fetch,
    ];

    /// The name on the command line and in the results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Rates => "rates",
            Self::Burst => "burst",
            Self::Lonely => "lonely",
            Self::Sizes => "sizes",
            Self::Bodies => "bodies",
            Self::Bloat => "bloat",
            Self::Fetch => "fetch",
        }
    }

    /// The subjects that are measured in it.
    pub(crate) fn subjects(self) -> &'static [Subject] {
        match self {
            Self::Throughput => &Subject::ALL,
            Self::Rates | Self::Burst => &[
                Subject::Naive,
                Subject::NaiveGuarantee,
                Subject::Gateway,
                Subject::GatewayConfirmed,
                Subject::GatewayStream,
                Subject::Embedded,
            ],
            Self::Lonely => &[
                Subject::Naive,
                Subject::NaiveGuarantee,
                Subject::Gateway,
                Subject::GatewayConfirmed,
                Subject::Embedded,
            ],
            Self::Sizes => &[Subject::Gateway],
            Self::Bloat => &[Subject::GatewayConfirmed],
            Self::Fetch => &[Subject::Curl, Subject::Worker, Subject::EmbeddedWorker],
            Self::Bodies => &[
                Subject::Validate,
                Subject::Naive,
                Subject::Gateway,
                Subject::GatewayConfirmed,
                Subject::Embedded,
            ],
        }
    }
}
