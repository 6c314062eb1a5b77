//! Analyses recordings, prints the results as JSON, one a line, and with `--bench` how fast that was.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::path::Path;
use std::process::ExitCode;

use callvine_audio::signal::{Settings, Signal};
use callvine_audio::{Facts, Refusal, read};
use callvine_domain::analysis::results::Results;

/// Rounds of `--bench`. The fastest counts: the others were disturbed.
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    let (mut is_bench, mut is_decoded_only, mut settings) = (false, false, Settings::default());
    let mut paths = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--bench" => is_bench = true,
            "--decode-only" => is_decoded_only = true,
            "--thorough" => settings.is_thorough = true,
            _ => paths.push(argument),
        }
    }
    if paths.is_empty() {
        eprintln!("usage: analyse [--bench [--decode-only]] [--thorough] FILE...");
        return ExitCode::from(2);
    }
    for path in paths {
        let outcome = if is_bench {
            bench(Path::new(&path), &settings, is_decoded_only)
        } else {
            analyse(Path::new(&path), &settings).map(|(_, results)| {
                println!("{}", serde_json::to_string(&results).unwrap_or_default());
            })
        };
        if let Err(refusal) = outcome {
            eprintln!("{path}: {refusal}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn analyse(path: &Path, settings: &Settings) -> Result<(Facts, Results), Refusal> {
    let mut signal = Signal::new(settings.clone());
    let facts = read(path, &mut |shape, samples| signal.hear(shape, samples))?;
    let results = signal.finish(&facts);
    Ok((facts, results))
}

fn bench(path: &Path, settings: &Settings, is_decoded_only: bool) -> Result<(), Refusal> {
    let (mut best, mut duration_seconds) = (f64::INFINITY, 0.0);
    for _ in 0..ROUNDS {
        let before = cpu_seconds();
        duration_seconds = if is_decoded_only {
            read(path, &mut |_, _| {})?.duration_seconds
        } else {
            analyse(path, settings)?.0.duration_seconds
        };
        best = best.min(cpu_seconds() - before);
    }
    println!(
        "{}: {duration_seconds:.0} s of sound in {best:.2} s of processor time: {:.0} times real time, {} MB resident at most",
        path.display(),
        duration_seconds / best,
        resident_mb(),
    );
    Ok(())
}

/// User and system time of this process, as Linux counts it: in hundredths.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kb| kb / 1024)
}
