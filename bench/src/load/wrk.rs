//! wrk: every connection sends its next call as soon as the last was answered.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde::Deserialize;
use uuid::Uuid;

use super::{Loaded, Target, output_of};
use crate::results::Latency;

const SCRIPT: &str = include_str!("wrk.lua");

/// Time after which a missing answer counts as a failure; the program answers every call within 5 s.
const TIMEOUT: &str = "10s";

/// The last line that the script prints.
#[derive(Deserialize)]
struct Summary {
    answers: u64,
    duration_us: f64,
    rejected: u64,
    broken: u64,
    timeouts: u64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
}

/// Keeps all connections busy for some seconds.
pub(crate) async fn run(target: Target<'_>, directory: &Path, seconds: u32) -> anyhow::Result<Loaded> {
    let script = directory.join("wrk.lua");
    fs::write(&script, SCRIPT).context("cannot write wrk's script")?;
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get().try_into().unwrap_or(1));
    let mut command = Command::new("wrk");
    command
        .args(["--threads", &target.connections.min(cores).to_string()])
        .args(["--connections", &target.connections.to_string()])
        .args(["--duration", &format!("{seconds}s"), "--timeout", TIMEOUT])
        .arg("--script")
        .arg(&script)
        .args([target.url, "--"])
        .arg(&target.bodies.file)
        .arg(target.key);
    if let Some(name) = target.numbered_header {
        command.arg(name).arg(Uuid::new_v4().to_string());
    }
    let output = output_of(command).await?;
    let line = output.lines().rfind(|line| line.starts_with('{')).context("wrk printed no summary")?;
    let summary: Summary = serde_json::from_str(line).context("wrk's summary is not as expected")?;
    let ms = |us: f64| us / 1000.0;
    Ok(Loaded {
        calls: summary.answers.saturating_sub(summary.rejected),
        failures: summary.rejected + summary.broken + summary.timeouts,
        seconds: summary.duration_us / 1e6,
        latency: Some(Latency {
            p50_ms: ms(summary.p50_us),
            p90_ms: ms(summary.p90_us),
            p99_ms: ms(summary.p99_us),
            p999_ms: ms(summary.p999_us),
            max_ms: ms(summary.max_us),
        }),
    })
}
