//! Logs on standard error, and metrics for the admin listener.

use std::time::Duration;

use clap::{Args, ValueEnum};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::failure::Failure;

/// How often histograms are folded into their buckets. Until then they keep every sample.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Upper bounds of the buckets of durations, in seconds: from a single request to the longest fetch.
const SECONDS_BUCKETS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0];

/// Upper bounds of the buckets of counts.
const COUNT_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// The most that a library may log, whatever the filter says: below it they print what they send and receive, passwords,
/// keys and headers included (lapin's `StartOk`, hyper's and h2's headers, sqlx's and rustls' messages).
const LIBRARIES_MAX: LevelFilter = LevelFilter::INFO;

/// How the names of our own crates begin, which follow the filter fully.
const OWN_TARGETS: &str = "callvine";

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Logging")]
pub(crate) struct Logging {
    /// The log on standard error: a level, or `target=level`, comma-separated [default: info,lapin=off; demo: error,lapin=off]
    #[arg(long, env = "RUST_LOG", value_name = "FILTER", global = true)]
    pub(crate) log: Option<String>,
    /// The format of the log
    #[arg(long, env = "CALLVINE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, global = true)]
    pub(crate) log_format: LogFormat,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Starts logging to standard error; standard output is for the results of commands.
pub(crate) fn start_logging(settings: &Logging, default_filter: &str) -> Result<(), Failure> {
    let filter = settings.log.as_deref().filter(|filter| !filter.is_empty()).unwrap_or(default_filter);
    let directives: Vec<&str> =
        filter.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    let filter: Targets = directives
        .join(",")
        .parse()
        .map_err(|error| Failure::Setting(format!("--log (RUST_LOG): {error}")))?;
    let libraries = Targets::new().with_default(LIBRARIES_MAX).with_target(OWN_TARGETS, LevelFilter::TRACE);
    let builder = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(is_terminal).finish().with(filter).with(libraries).init();
        }
        LogFormat::Json => builder.json().flatten_event(true).finish().with(filter).with(libraries).init(),
    }
    Ok(())
}

/// Starts to collect metrics. Needs a runtime.
pub(crate) fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    use metrics_exporter_prometheus::Matcher;
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .set_buckets(&COUNT_BUCKETS)?
        .install_recorder()?;
    callvine_shared::metrics::describe();
    callvine_gateway::metrics::describe();
    callvine_worker::metrics::describe();
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            interval.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}
