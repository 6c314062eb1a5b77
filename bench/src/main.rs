//! The benchmark: starts private servers, runs the program, its ceilings, the naive gateway and PHP on them in turn, and
//! writes what it found.

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
mod spread;
mod stage;
mod subject;
mod watch;

use std::fs;
use std::path::{Path, PathBuf};

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
    let output = output(&arguments, &stage);
    let folder = output.join(report::FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = folder.join(report::RESULTS);
    let mut results = Results::read(&file)?;
    for scenario in &arguments.scenarios {
        say::line(&format!("\n{}", scenario.name()));
        if scenarios::needs_oha(*scenario, &arguments) && !stage.has_oha(!arguments.quick).await? {
            say::line("left out: oha is not installed, and a smoke run does not build it");
            continue;
        }
        let sitting = scenarios::sit(&stage, *scenario, &arguments).await?;
        results.scenarios.insert(scenario.name().to_owned(), sitting);
        // After each: whoever stops it after an hour keeps what was measured.
        results.write(&file)?;
        report::write(&results, &output)?;
    }
    say::line(&format!("\n{}", report::summary(&results)));
    say::line(&format!("written to {}", output.join("performance.md").display()));
    Ok(())
}

/// What a smoke run finds is nobody's business: it goes beside what was built.
fn output(arguments: &Arguments, stage: &Stage) -> PathBuf {
    let default =
        if arguments.quick { stage.binaries.join("bench-quick") } else { Path::new("docs").to_owned() };
    arguments.output.clone().unwrap_or(default)
}
