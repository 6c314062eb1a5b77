//! The machine of a measurement: processors, memory, kernel, and the versions of all software that takes part.

use std::fs;
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::server;

/// The text for a fact that cannot be found out, which must not stop a measurement.
const UNKNOWN: &str = "unknown";

/// RabbitMQ's own script; the one on the search path changes the user.
const RABBITMQCTL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";

/// A machine and its software.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    /// Each program, and its version.
    pub(crate) versions: Vec<(String, String)>,
}

impl Machine {
    /// Describes this machine.
    pub(crate) async fn this(oha: &str) -> Self {
        let php_fpm = server::php_fpm().unwrap_or_default();
        let versions = [
            ("PostgreSQL", first_line("pgbench", &["--version"]).await),
            ("RabbitMQ", first_line(RABBITMQCTL, &["version"]).await),
            ("wrk", first_line("wrk", &["-v"]).await),
            ("oha", first_line(oha, &["--version"]).await),
            ("nginx", first_line(server::NGINX, &["-v"]).await),
            ("PHP", first_line(&php_fpm.to_string_lossy(), &["--version"]).await),
            ("curl", first_line("curl", &["--version"]).await),
            ("rustc", first_line("rustc", &["--version"]).await),
        ];
        Self {
            processor: processor(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory_gib(),
            kernel: first_line("uname", &["-sr"]).await,
            versions: versions.map(|(name, line)| (name.to_owned(), version(&line))).to_vec(),
        }
    }
}

/// The commit that is measured, and whether the files differ from it.
pub(crate) async fn commit() -> String {
    let commit = first_line("git", &["rev-parse", "--short=12", "HEAD"]).await;
    let changes = ["status", "--porcelain", "--untracked-files=no", "--", ":!docs"];
    match first_line("git", &changes).await.as_str() {
        // git prints nothing when nothing has changed.
        UNKNOWN => commit,
        _ => commit + " and changes",
    }
}

/// Finds the version in a line such as `pgbench (PostgreSQL) 15.18 (Debian …)` or `wrk debian/4.1.0-3 …`.
fn version(line: &str) -> String {
    let mut words = line.split([' ', '/']);
    words.find(|word| word.starts_with(|first: char| first.is_ascii_digit())).unwrap_or(UNKNOWN).to_owned()
}

/// The first line that a program prints to its output or, failing that, to its errors.
async fn first_line(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let Ok(output) = command.output().await else {
        return UNKNOWN.to_owned();
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or(UNKNOWN).to_owned()
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    line.map_or(UNKNOWN, |(_, name)| name).to_owned()
}

fn memory_gib() -> f64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib: Option<f64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    (kib.unwrap_or_default() / (1024.0 * 1024.0)).round()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_the_lines_that_programs_print() {
        assert_eq!(version("pgbench (PostgreSQL) 15.18 (Debian 15.18-0)"), "15.18");
        assert_eq!(version("wrk debian/4.1.0-3+b2 [epoll]"), "4.1.0-3+b2");
        assert_eq!(version("3.10.8"), "3.10.8");
        assert_eq!(version("?"), UNKNOWN);
    }
}
