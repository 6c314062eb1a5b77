//! Starts servers that print nothing when they listen: nginx and php-fpm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::{Process, Signal, Start, eventually};

/// The directory of nginx and php-fpm on Debian, which the search path of ordinary users lacks.
const PROGRAMS: &str = "/usr/sbin";

/// The path of nginx.
pub(crate) const NGINX: &str = "/usr/sbin/nginx";

/// Limit for a start, which takes a tenth of a second on an idle machine.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// Finds php-fpm, whose file name has its version.
pub(crate) fn php_fpm() -> anyhow::Result<PathBuf> {
    let entries = fs::read_dir(PROGRAMS).with_context(|| format!("cannot look into {PROGRAMS}"))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let is_fpm = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("php-fpm"))
    };
    // Several versions may be installed: `php-fpm8.2`, `php-fpm8.4`.
    paths.filter(is_fpm).max().context("php-fpm is not installed: run tests/setup.sh")
}

/// Starts a server in this directory and waits until it listens; its output goes to files with this name.
pub(crate) async fn start(
    mut command: Command,
    (directory, name): (&Path, &str),
    mut listens: impl AsyncFnMut() -> bool,
) -> anyhow::Result<Process> {
    command.current_dir(directory);
    let (stdout, stderr) = (directory.join(format!("{name}.out")), directory.join(format!("{name}.log")));
    let mut process = Process::start(&Start { command, stdout, stderr, last_signal: Signal::KILL });
    let what = format!("{name} listens");
    eventually(START_DEADLINE, &what, async || process.exited().is_some() || listens().await).await;
    ensure!(process.exited().is_none(), "{name} does not start\n{}", process.account());
    Ok(process)
}
