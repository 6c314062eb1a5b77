//! Processes end when they should, and never outlive the tests.

use std::process::Command;
use std::time::Duration;

use harness::{Callvine, PATIENCE, Process, Signal, Start, eventually, new_directory, obtained};

/// A command that only prints ends by itself, with its exit code.
#[tokio::test]
async fn a_command_of_the_program_runs_to_its_end() {
    let finished = Callvine::new("--help").run().await;
    assert_eq!(finished.code(), Some(0), "{finished:?}");
}

#[tokio::test]
async fn signals_and_kills_are_told_apart() {
    let mut stopped = sleeper();
    stopped.signal(Signal::TERM);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&stopped.ended(PATIENCE).await), Some(15));
    let killed = sleeper().kill();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed), Some(9));
}

/// The environment of the tests does not reach the processes: only what they are given does.
#[tokio::test]
async fn a_process_gets_only_the_environment_it_is_given() {
    let directory = new_directory("environment");
    let mut command = Command::new("/usr/bin/env");
    command.env("GIVEN", "yes");
    let (stdout, stderr) = (directory.join("stdout"), directory.join("stderr"));
    let start = Start { command, stdout: stdout.clone(), stderr, last_signal: Signal::KILL };
    Process::start(&start).ended(PATIENCE).await;
    let text = std::fs::read_to_string(stdout).unwrap();
    // The shell that every process starts as adds where it is, and how deep.
    let of_shell =
        |line: &&str| ["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|name| line.starts_with(name));
    let given: Vec<&str> = text.lines().filter(|line| !of_shell(line)).collect();
    assert_eq!(given, ["GIVEN=yes"]);
}

/// Runs the test below as a test process of its own, kills that, and looks what it leaves behind.
#[tokio::test]
async fn nothing_outlives_a_killed_test_process() {
    let report = new_directory("victim").join("report");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "programs::victim", "--nocapture"]).env("REPORT", &report);
    command.env("PATH", "/usr/bin:/bin");
    let log = report.with_file_name("log");
    let mut victim =
        Process::start(&Start { command, stdout: log.clone(), stderr: log, last_signal: Signal::KILL });
    let (pid, directory) = obtained(PATIENCE, "the victim has started a process", async || {
        let text = std::fs::read_to_string(&report).ok()?;
        let (pid, directory) = text.strip_suffix('\n')?.split_once(' ')?;
        Some((pid.to_owned(), directory.to_owned()))
    })
    .await;
    assert!(is_alive(&pid) && std::fs::exists(&directory).unwrap());
    victim.kill();
    eventually(PATIENCE, "its process has ended", async || !is_alive(&pid)).await;
    eventually(PATIENCE, "its directory is gone", async || !std::fs::exists(&directory).unwrap()).await;
}

/// Not a test by itself: what [`nothing_outlives_a_killed_test_process`] runs and kills.
#[tokio::test]
async fn victim() {
    let Some(report) = std::env::var_os("REPORT") else {
        return;
    };
    let mut process = sleeper();
    let directory = new_directory("data");
    std::fs::write(report, format!("{} {}\n", process.pid().as_raw_pid(), directory.display())).unwrap();
    process.ended(Duration::from_secs(600)).await;
}

/// A process that ends only when told to.
fn sleeper() -> Process {
    let log = new_directory("sleeper").join("log");
    let mut command = Command::new("/usr/bin/sleep");
    command.arg("600");
    Process::start(&Start { command, stdout: log.clone(), stderr: log, last_signal: Signal::KILL })
}

/// Whether it runs; one that has ended and nobody has waited for (a zombie) does not.
fn is_alive(pid: &str) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
