//! pgbench: single-row INSERTs into PostgreSQL, each a transaction of its own, with the naive gateway's statement,
//! prepared.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::{Loaded, output_of};

const SCRIPT: &str = r"\set number random(1000000000, 9999999999)
insert into call_logs (client, from_phone, to_phone, handled_by, department, start_time, end_time, recording_url,
                       title, created_at)
values (:client, :number, :to_phone, :handled_by, :department, :start_time, :end_time, :recording_url, :title,
        :created_at)
returning id;
";

/// Values as long as those of the calls that are posted.
const VALUES: [(&str, &str); 9] = [
    ("client", "bench"),
    ("to_phone", "+18006000009"),
    ("handled_by", "Agent Smith 042"),
    ("department", "Customer Service"),
    ("start_time", "2024-01-15 09:00:00"),
    ("end_time", "2024-01-15 10:00:30"),
    ("recording_url", "http://127.0.0.1:9/recordings/000042.wav?signature=0123456789abcdef0123456789abcdef"),
    ("title", "Call from +19087270291 to +18006000009 (handled by Agent Smith 042)"),
    ("created_at", "2024-01-15 10:30:00"),
];

/// Inserts for some seconds over this many connections into a database with the program's tables.
pub(crate) async fn run(
    database: &str,
    directory: &Path,
    (clients, seconds): (u32, u32),
) -> anyhow::Result<Loaded> {
    let script = directory.join("insert.sql");
    fs::write(&script, SCRIPT).context("cannot write pgbench's script")?;
    let mut command = Command::new("pgbench");
    command
        .args(["--no-vacuum", "--protocol=prepared", "--file"])
        .arg(&script)
        .args(["--client", &clients.to_string(), "--jobs", &clients.min(2).to_string()])
        .args(["--time", &seconds.to_string()]);
    for (name, value) in VALUES {
        command.args(["--define", &format!("{name}={value}")]);
    }
    command.arg(database);
    let output = output_of(command).await?;
    let figure = |before: &str| -> anyhow::Result<f64> {
        let line = output.lines().find_map(|line| line.strip_prefix(before));
        let word = line.and_then(|line| line.split_whitespace().next());
        let number = word.and_then(|word| word.trim_end_matches('/').parse().ok());
        number.with_context(|| format!("pgbench's output has no {before:?}:\n{output}"))
    };
    let transactions_per_second = figure("tps = ")?;
    let calls = figure("number of transactions actually processed: ")?;
    Ok(Loaded {
        // pgbench prints a whole number.
        calls: format!("{calls:.0}").parse()?,
        failures: 0,
        seconds: calls / transactions_per_second,
        latency: None,
    })
}
