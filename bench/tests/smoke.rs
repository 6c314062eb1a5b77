//! The benchmark runs end to end, in little; its figures are not looked at.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[tokio::test]
async fn a_run_in_little_ends_with_a_report_and_its_plots() {
    let output = harness::new_directory("bench");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_callvine-bench"));
    bench
        .args(["--quick", "--scenario", "throughput,burst,bloat,fetch"])
        .args([
            "--only",
            "pgbench-8,naive-guarantee,php,php-amqp,gateway-confirmed,curl,worker,embedded-worker",
            "--output",
        ])
        .arg(&output)
        .arg("--callvine")
        .arg(program());
    let said = harness::run(bench).await;

    for subject in [
        "pgbench, 8 clients",
        "naive, same guarantee",
        "PHP  ",
        "PHP, AMQP",
        "gateway, events confirmed",
        "curl --parallel",
        "worker (PostgreSQL",
        "embedded worker (SQLite)",
    ] {
        assert!(said.contains(subject), "{subject} was not measured:\n{said}");
    }
    assert!(
        !said.contains("FAILED") && !said.contains("never drained"),
        "calls or events are missing:\n{said}"
    );
    let report = fs::read_to_string(output.join("report.md")).unwrap();
    for plot in ["throughput", "cpu", "burst", "bloat", "fetch"] {
        let plot = format!("{plot}.svg");
        assert!(report.contains(&plot) && output.join(&plot).exists(), "no {plot} in\n{report}");
    }
    for ratio in [
        "| calls/s sustained | gateway, events confirmed | naive, same guarantee | ",
        "| files/s | worker (PostgreSQL, RabbitMQ) | curl --parallel | ",
    ] {
        let row = report.lines().find(|line| line.starts_with(ratio));
        assert!(row.is_some_and(|row| row.contains("x |")), "no ratio {ratio}in\n{report}");
    }
    assert!(output.join("results.json").exists());
}

#[tokio::test]
async fn two_builds_are_compared_in_every_figure() {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_callvine-bench"));
    bench
        .args(["--only", "gateway,embedded", "--connections", "4", "--rounds", "1", "--seconds", "1"])
        .arg("--callvine")
        .arg(program())
        .arg("--against")
        .arg(program());
    let said = harness::run(bench).await;

    for set_up in
        ["gateway, broker away, 4 connections, 1 pairs", "embedded (SQLite), 4 connections, 1 pairs"]
    {
        let table = said.split(set_up).nth(1).unwrap_or_else(|| panic!("no {set_up} in:\n{said}"));
        for figure in ["calls/s", "p50 ms", "p99 ms", "server µs a call", "all processors µs a call"] {
            assert!(table.contains(figure), "no {figure} of {set_up} in:\n{said}");
        }
    }
}

/// The program under test, which is built beside the directory of the running test.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().and_then(Path::parent).unwrap().join("callvine-under-test");
    assert!(built.exists(), "{} is missing: run the tests with `--workspace`", built.display());
    built
}
