//! The subjects: the program in its set-ups, and the yardsticks.

use serde::{Deserialize, Serialize};

/// A server, or a load generator, that is measured. Its name on the command line and in the results is the variant's,
/// in kebab case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    /// hyper answering 201, without looking at the call
    Echo,
    /// hyper validating and answering, without storing
    Validate,
    /// pgbench with the same single-row INSERT, 1 client
    #[value(name = "pgbench-1")]
    #[serde(rename = "pgbench-1")]
    Pgbench1,
    /// the same, 8 clients
    #[value(name = "pgbench-8")]
    #[serde(rename = "pgbench-8")]
    Pgbench8,
    /// the same, 32 clients
    #[value(name = "pgbench-32")]
    #[serde(rename = "pgbench-32")]
    Pgbench32,
    /// the same, 64 clients
    #[value(name = "pgbench-64")]
    #[serde(rename = "pgbench-64")]
    Pgbench64,
    /// RabbitMQ alone: pipelined confirmed publishing to a quorum queue
    Broker,
    /// The naive gateway: one INSERT a request
    Naive,
    /// The naive gateway with Callvine's guarantee
    NaiveGuarantee,
    /// nginx and php-fpm: one INSERT a request, over persistent connections
    Php,
    /// The same, each event published and confirmed before the answer
    PhpAmqp,
    /// callvine gateway, the broker out of reach
    Gateway,
    /// The same with `synchronous_commit=off`, which shows the cost of durability
    GatewayAsync,
    /// callvine gateway, every event confirmed, no stream
    GatewayConfirmed,
    /// callvine gateway, every event confirmed, and kept in the stream
    GatewayStream,
    /// callvine up: SQLite and in-process delivery, with its worker
    Embedded,
    /// curl, fetching recordings into files
    Curl,
    /// callvine worker, beside a gateway
    Worker,
    /// callvine up, fetching recordings
    EmbeddedWorker,
}

impl Subject {
    /// All subjects, in the order of tables and plots.
    pub(crate) const ALL: [Self; 19] = [
        Self::Echo,
        Self::Validate,
        Self::Pgbench1,
        Self::Pgbench8,
        Self::Pgbench32,
        Self::Pgbench64,
        Self::Broker,
        Self::Naive,
        Self::NaiveGuarantee,
        Self::Php,
        Self::PhpAmqp,
        Self::Gateway,
        Self::GatewayAsync,
        Self::GatewayConfirmed,
        Self::GatewayStream,
        Self::Embedded,
        Self::Curl,
        Self::Worker,
        Self::EmbeddedWorker,
    ];

    /// pgbench with every number of clients.
    pub(crate) const PGBENCH: [Self; 4] = [Self::Pgbench1, Self::Pgbench8, Self::Pgbench32, Self::Pgbench64];

    /// The name in tables and plots.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Validate => "validate",
            Self::Pgbench1 => "pgbench, 1 client",
            Self::Pgbench8 => "pgbench, 8 clients",
            Self::Pgbench32 => "pgbench, 32 clients",
            Self::Pgbench64 => "pgbench, 64 clients",
            Self::Broker => "RabbitMQ alone",
            Self::Naive => "naive",
            Self::NaiveGuarantee => "naive, same guarantee",
            Self::Php => "PHP",
            Self::PhpAmqp => "PHP, AMQP",
            Self::Gateway => "gateway, broker away",
            Self::GatewayAsync => "gateway, commits not synced",
            Self::GatewayConfirmed => "gateway, events confirmed",
            Self::GatewayStream => "gateway, events streamed",
            Self::Embedded => "embedded (SQLite)",
            Self::Curl => "curl --parallel",
            Self::Worker => "worker (PostgreSQL, RabbitMQ)",
            Self::EmbeddedWorker => "embedded worker (SQLite)",
        }
    }

    /// Whether it is the naive gateway, in either form.
    pub(crate) fn is_naive(self) -> bool {
        matches!(self, Self::Naive | Self::NaiveGuarantee)
    }

    /// The way in which it is measured.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Pgbench1 => Kind::Pgbench { clients: 1 },
            Self::Pgbench8 => Kind::Pgbench { clients: 8 },
            Self::Pgbench32 => Kind::Pgbench { clients: 32 },
            Self::Pgbench64 => Kind::Pgbench { clients: 64 },
            Self::Broker => Kind::Broker,
            Self::Curl | Self::Worker | Self::EmbeddedWorker => Kind::Fetch,
            _ => Kind::Http,
        }
    }

    /// Whether it publishes every event, so that the time until the last confirm counts.
    pub(crate) fn publishes(self) -> bool {
        matches!(
            self,
            Self::NaiveGuarantee
                | Self::PhpAmqp
                | Self::GatewayConfirmed
                | Self::GatewayStream
                | Self::Embedded
        )
    }

    /// Whether it talks to RabbitMQ.
    pub(crate) fn needs_broker(self) -> bool {
        matches!(
            self,
            Self::Broker
                | Self::NaiveGuarantee
                | Self::PhpAmqp
                | Self::GatewayConfirmed
                | Self::GatewayStream
                | Self::Worker
        )
    }
}

/// The way in which a subject is put under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It answers requests.
    Http,
    /// pgbench is its own load.
    Pgbench {
        /// Connections, each with one statement at a time.
        clients: u32,
    },
    /// The benchmark publishes to it.
    Broker,
    /// It fetches recordings.
    Fetch,
}
