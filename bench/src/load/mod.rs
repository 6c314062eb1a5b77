//! Load generators. Each reports how many calls were answered, how fast, and how many were not.

pub(crate) mod broker;
pub(crate) mod oha;
pub(crate) mod pgbench;
pub(crate) mod raw;
pub(crate) mod wrk;

use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::bodies::Bodies;
use crate::results::Latency;

/// The server that calls are sent to, and the calls.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The webhook's address.
    pub(crate) url: &'a str,
    pub(crate) key: &'a str,
    pub(crate) bodies: &'a Bodies,
    pub(crate) connections: u32,
    /// A header of wrk's posts whose value is another one in each; `None`: there is none.
    pub(crate) numbered_header: Option<&'static str>,
}

/// The outcome of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loaded {
    /// Calls answered 201.
    pub(crate) calls: u64,
    /// Calls answered otherwise, or not at all.
    pub(crate) failures: u64,
    /// Time from the first request to the last answer.
    pub(crate) seconds: f64,
    pub(crate) latency: Option<Latency>,
}

/// Runs a load generator to its end and returns what it prints.
pub(crate) async fn output_of(command: Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = tokio::process::Command::from(command)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot start {program}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} ended with {}:\n{stdout}{stderr}", output.status);
    Ok(stdout)
}
