//! The report: performance.md and its plots, written from the JSON file, so that what was measured at another time stays
//! in it with its own date and command.

mod bloat;
mod columns;
mod format;
mod goals;
mod plot;
mod plots;
mod processors;

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use self::columns::{PROCESSORS, columns};
use self::plots::plots;
use self::processors::what_binds;
use crate::results::{Results, Sitting};
use crate::scenario::Scenario;

/// The folder of JSON file and plots, beside performance.md.
pub(crate) const FOLDER: &str = "performance";

/// The JSON file in that folder.
pub(crate) const RESULTS: &str = "results.json";

const INTRODUCTION: &str = include_str!("introduction.md");

/// Writes performance.md and the plots.
pub(crate) fn write(results: &Results, folder: &Path) -> anyhow::Result<()> {
    let mut text = String::from(INTRODUCTION);
    text += "\n## Goals\n\n";
    text += &goals::table(results);
    for scenario in Scenario::ALL {
        if let Some(sitting) = results.scenarios.get(scenario.name()) {
            text += &section(scenario, sitting, folder)?;
        }
    }
    let file = folder.join("performance.md");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// The goals, for who has waited.
pub(crate) fn summary(results: &Results) -> String {
    goals::table(results)
}

fn section(scenario: Scenario, sitting: &Sitting, folder: &Path) -> anyhow::Result<String> {
    let (title, about) = heading(scenario);
    let mut text = format!("\n## {title}\n\n{about}\n\n{}\n", conditions(sitting));
    for (name, svg) in plots(scenario, sitting) {
        let Some(svg) = svg else { continue };
        let file = folder.join(FOLDER).join(format!("{name}.svg"));
        fs::write(&file, svg).with_context(|| format!("cannot write {}", file.display()))?;
        text += &format!("![{title}]({FOLDER}/{name}.svg)\n\n");
    }
    text += &match scenario {
        Scenario::Bloat => bloat::table(sitting),
        _ => format::table(sitting, columns(scenario)),
    };
    if scenario == Scenario::Throughput {
        text += "\nMicroseconds of processor time a call, from the first request to the last confirm:\n\n";
        text += &format::table(sitting, PROCESSORS);
        text += "\n### What binds\n\n";
        text += &what_binds(sitting);
    }
    Ok(text)
}

fn heading(scenario: Scenario) -> (&'static str, &'static str) {
    match scenario {
        Scenario::Throughput => (
            "Throughput",
            "Every connection sends its next call as soon as the last was answered. *Sustained* counts the time until \
             the last event was confirmed: it is the rate that could go on for ever.",
        ),
        Scenario::Rates => (
            "Latency at fixed rates",
            "Calls come at a rate, over 64 connections, whatever was answered; latency counts from when a call was \
             due. The naive gateway is left out above what it can answer.",
        ),
        Scenario::Burst => (
            "A burst",
            "Many calls at once over 256 connections: until all are answered, and until all their events are confirmed.",
        ),
        Scenario::Lonely => (
            "Lonely calls",
            "One call at a time with a pause between two: a call that comes alone must not wait for company.",
        ),
        Scenario::Sizes => (
            "Full tables",
            "`call_logs` and `recordings` have these many rows before the first call; 256 connections, broker away.",
        ),
        Scenario::Bodies => (
            "Larger calls",
            "64 connections. A call of 1 KB has a longer recording URL, one of 10 KB also a field of the provider's own, \
             which is read and ignored.",
        ),
        Scenario::Bloat => (
            "An hour",
            "Calls come at a rate (or, with `--bloat-rate 0`, as fast as they are answered) over 64 connections to one \
             gateway, for as long as it says on the left. Every event is confirmed, and its row leaves the outbox \
             again; the queue is emptied between two samples, as a worker would. Sizes, rows and events are those of \
             the outbox half a second before a sample ends, under load; answers and latency are those of that sample \
             alone, and at a rate latency counts from when a call was due.",
        ),
        Scenario::Fetch => (
            "Recordings",
            "8 kHz A-law of 1 MB from one nginx on this machine, 16 at once, from the first call posted to the last \
             recording kept: fetched, hashed, decoded to its last sample and synced, with all that the database and the \
             queues have to do with it. curl writes the same files, and neither hashes, looks into nor syncs them. \
             Microseconds are of processor time a recording; nginx is among the other.",
        ),
    }
}

fn conditions(sitting: &Sitting) -> String {
    let Sitting { began_at, command, commit, machine, rounds, seconds, runs } = sitting;
    let versions = machine.versions.iter().map(|(name, version)| format!("{name} {version}"));
    let versions: Vec<String> = versions.collect();
    let stolen = runs.iter().map(|run| run.measures.cpu.stolen).max_by(f64::total_cmp).unwrap_or_default();
    format!(
        "{began_at}, commit {commit}, `{command}`; rounds: {rounds}; {seconds} s a run. {} cores of {}, {:.0} GiB, {}; {}. \
         At most {:.1} % of a run's time went to other machines on the host.\n",
        machine.cores,
        machine.processor,
        machine.memory_gib,
        machine.kernel,
        versions.join(", "),
        stolen * 100.0,
    )
}
