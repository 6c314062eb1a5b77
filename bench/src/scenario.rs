//! The scenarios: what each is called, and which subjects are measured in it.

use serde::Serialize;

use crate::subject::Subject;

/// The case of what has no connections of its own to vary.
pub(crate) const ALONE: &str = "alone";

/// The case of recordings.
pub(crate) const FETCH: &str = "1 MB recordings, 16 at once";
/// The case of large recordings, in which memory counts.
pub(crate) const FETCH_LARGE: &str = "200 MB recordings, 64 at once";

/// One table of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
pub(crate) enum Scenario {
    /// Every connection busy: calls a second
    Throughput,
    /// A fixed number of calls a second: latency
    Rates,
    /// Many calls at once: until all are answered, and all events confirmed
    Burst,
    /// One call at a time, with pauses: what waiting for company would cost
    Lonely,
    /// Tables that are full already
    Sizes,
    /// Larger calls
    Bodies,
    /// An hour on one instance: whether the outbox stays small
    Bloat,
    /// Recordings fetched, proved and kept
    Fetch,
}

impl Scenario {
    /// All, in the report's order.
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

    /// As on the command line.
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
