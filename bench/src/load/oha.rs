//! oha: calls come at a fixed rate, whether the last ones were answered or not. Latency counts from the moment when a
//! call was due.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde::Deserialize;

use super::{Loaded, Target, output_of};
use crate::results::Latency;

/// Time after which a missing answer counts as a failure.
const TIMEOUT: &str = "10s";

const CREATED: &str = "201";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    summary: Summary,
    latency_percentiles: Percentiles,
    status_code_distribution: BTreeMap<String, u64>,
    error_distribution: BTreeMap<String, u64>,
}

/// Times in seconds.
#[derive(Deserialize)]
struct Summary {
    total: f64,
    slowest: f64,
}

/// Latencies in seconds.
#[derive(Deserialize)]
struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p999: f64,
}

/// Sends this many calls a second for some seconds.
pub(crate) async fn run(
    target: Target<'_>,
    oha: &Path,
    (calls_per_second, seconds): (u32, u32),
) -> anyhow::Result<Loaded> {
    let mut command = Command::new(oha);
    command
        .args(["-q", &calls_per_second.to_string(), "-c", &target.connections.to_string()])
        .args(["-z", &format!("{seconds}s"), "-t", TIMEOUT, "-w"])
        .args(["--latency-correction", "--no-tui", "--output-format", "json"])
        .args(["-m", "POST", "-H", "Content-Type: application/json", "-H"])
        .arg(format!("X-API-Key: {}", target.key))
        .arg("-Z")
        .arg(&target.bodies.file)
        .arg(target.url);
    let output = output_of(command).await?;
    let report: Report = serde_json::from_str(&output).context("oha's report is not as expected")?;
    let calls = report.status_code_distribution.get(CREATED).copied().unwrap_or_default();
    let answers: u64 = report.status_code_distribution.values().sum();
    let errors: u64 = report.error_distribution.values().sum();
    let ms = |seconds: f64| seconds * 1000.0;
    Ok(Loaded {
        calls,
        failures: answers - calls + errors,
        seconds: report.summary.total,
        latency: Some(Latency {
            p50_ms: ms(report.latency_percentiles.p50),
            p90_ms: ms(report.latency_percentiles.p90),
            p99_ms: ms(report.latency_percentiles.p99),
            p999_ms: ms(report.latency_percentiles.p999),
            max_ms: ms(report.summary.slowest),
        }),
    })
}
