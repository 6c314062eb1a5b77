//! The benchmark: starts private servers, runs the program and its yardsticks on them in turn, and writes a report.

mod arguments;
mod bodies;
mod compare;
mod fetch;
mod instance;
mod launch;
mod ledger;
mod load;
mod machine;
mod measure;
mod php;
mod procfs;
mod report;
mod results;
mod say;
mod scenario;
mod scenarios;
mod server;
mod spread;
mod stage;
mod subject;
mod watch;

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use arguments::Arguments;
use clap::Parser as _;
use results::Results;
use stage::Stage;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse().in_little();
    let needs_broker = if arguments.against.is_some() {
        compare::needs_broker(&arguments)
    } else {
        scenarios::needs_broker(&arguments)
    };
    let stage = Stage::set(&arguments.callvine, needs_broker).await?;
    if let Some(other) = &arguments.against {
        return compare::run(stage, other, &arguments).await;
    }
    let folder = output(&arguments, &stage)?;
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = folder.join(results::FILE);
    let mut results = Results::read(&file)?;
    for scenario in &arguments.scenarios {
        say::line(&format!("\n{}", scenario.name()));
        if scenarios::needs_oha(*scenario, &arguments) && !stage.has_oha(!arguments.quick).await? {
            say::line("left out: oha is not installed, and a smoke run does not build it");
            continue;
        }
        let sitting = scenarios::sit(&stage, *scenario, &arguments).await?;
        results.scenarios.insert(scenario.name().to_owned(), sitting);
        // After each scenario: a run that is stopped after an hour keeps what it has measured.
        results.write(&file)?;
        report::write(&results, &folder)?;
    }
    say::line(&format!("\nwritten to {}", folder.join(report::FILE).display()));
    Ok(())
}

/// The folder of the report: a smoke run has one of its own, so that it overwrites no measurement.
fn output(arguments: &Arguments, stage: &Stage) -> anyhow::Result<PathBuf> {
    let target = stage.binaries.parent().context("this program has no target directory")?;
    let default = target.join(if arguments.quick { "bench-quick" } else { "bench" });
    Ok(arguments.output.clone().unwrap_or(default))
}
