//! The report: report.md and its plots. It is written from the kept results, so a scenario that was measured earlier
//! stays in it with its own date and command.

mod bloat;
mod columns;
mod format;
mod plot;
mod plots;
mod processors;
mod ratios;

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use self::columns::{PROCESSORS, columns};
use self::plots::plots;
use self::processors::what_binds;
use crate::results::{Results, Sitting};
use crate::scenario::Scenario;

/// The report's file name.
pub(crate) const FILE: &str = "report.md";

const INTRODUCTION: &str = "# Report\n\n\
    Written by `make bench`. docs/performance.md says what is measured, against what, and how.\n\n\
    Figures are medians of the rounds with their range; a ratio is taken in each round by itself. Microseconds are \
    processor time of a call (of a recording, where recordings are fetched), from the first request to the last \
    confirm.\n";

/// Writes report.md and the plots.
pub(crate) fn write(results: &Results, folder: &Path) -> anyhow::Result<()> {
    let mut text = String::from(INTRODUCTION);
    for scenario in Scenario::ALL {
        if let Some(sitting) = results.scenarios.get(scenario.name()) {
            text += &section(scenario, sitting, folder)?;
        }
    }
    let file = folder.join(FILE);
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn section(scenario: Scenario, sitting: &Sitting, folder: &Path) -> anyhow::Result<String> {
    let title = title(scenario);
    let mut text = format!("\n## {title}\n\n{}\n", conditions(sitting));
    for (name, svg) in plots(scenario, sitting) {
        let Some(svg) = svg else { continue };
        let file = folder.join(format!("{name}.svg"));
        fs::write(&file, svg).with_context(|| format!("cannot write {}", file.display()))?;
        text += &format!("![{title}]({name}.svg)\n\n");
    }
    text += &match scenario {
        Scenario::Bloat => bloat::table(sitting),
        _ => format::table(sitting, columns(scenario)),
    };
    if let Some(ratios) = ratios::table(scenario, sitting) {
        text += &format!("\n{ratios}");
    }
    if scenario == Scenario::Throughput {
        text += &format!("\n{}", format::table(sitting, PROCESSORS));
        text += &format!("\n{}", what_binds(sitting));
    }
    Ok(text)
}

fn title(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::Throughput => "Throughput",
        Scenario::Rates => "Latency at fixed rates",
        Scenario::Burst => "A burst",
        Scenario::Lonely => "Lonely calls",
        Scenario::Sizes => "Full tables",
        Scenario::Bodies => "Larger calls",
        Scenario::Bloat => "An hour",
        Scenario::Fetch => "Recordings",
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
