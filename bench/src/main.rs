//! The benchmark: starts private servers, runs the program, its ceilings and the naive gateway on them in turn, and
//! writes what it found.

mod arguments;
mod bodies;
mod instance;
mod ledger;
mod load;
mod machine;
mod measure;
mod procfs;
mod results;
mod say;
mod scenarios;
mod spread;
mod stage;
mod subject;

use arguments::Arguments;
use clap::Parser as _;
use stage::Stage;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse().in_little();
    let needs_broker = arguments.only.iter().any(|subject| subject.needs_broker());
    let stage = Stage::set(&arguments.callvine, needs_broker).await?;
    for scenario in &arguments.scenarios {
        say::line(&format!("\n{}", scenario.name()));
        scenarios::sit(&stage, *scenario, &arguments).await?;
    }
    Ok(())
}
