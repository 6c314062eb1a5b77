//! Runs the scenarios. All subjects take turns in each round, so a machine that becomes slower does so for all of them.

mod bloat;
mod cases;
mod sizes;

use std::collections::BTreeMap;

use anyhow::Context as _;
use chrono::{SecondsFormat, Utc};

use self::cases::{Work, cases, is_wanted};
use crate::arguments::Arguments;
use crate::bodies::Bodies;
use crate::fetch;
use crate::machine::{self, Machine};
use crate::measure::{self, Plan};
use crate::results::{Run, Sitting};
use crate::say;
use crate::scenario::Scenario;
use crate::stage::Stage;

/// Measures one scenario.
pub(crate) async fn sit(stage: &Stage, scenario: Scenario, arguments: &Arguments) -> anyhow::Result<Sitting> {
    let began_at = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    let commit = machine::commit().await;
    let (runs, rounds, seconds) = if scenario == Scenario::Bloat {
        let (runs, seconds) = bloat::run(stage, arguments).await?;
        (runs, 1, seconds)
    } else {
        (interleaved(stage, scenario, arguments).await?, arguments.rounds, arguments.seconds)
    };
    Ok(Sitting {
        began_at,
        command: Arguments::command(),
        commit,
        machine: Machine::this(&stage.oha.to_string_lossy()).await,
        rounds,
        seconds,
        runs,
    })
}

/// Runs every case with every subject in each round.
async fn interleaved(stage: &Stage, scenario: Scenario, arguments: &Arguments) -> anyhow::Result<Vec<Run>> {
    let cases = cases(scenario, arguments);
    let mut bodies = BTreeMap::new();
    for case in &cases {
        bodies.insert(case.body_bytes, Bodies::write(case.body_bytes, &stage.directory)?);
    }
    let full = sizes::fill(stage, cases.iter().map(|case| case.rows)).await?;
    let mut runs = Vec::new();
    for round in 1..=arguments.rounds {
        for case in &cases {
            for subject in scenario.subjects().iter().filter(|subject| arguments.only.contains(subject)) {
                if !is_wanted(*subject, case) {
                    continue;
                }
                let measures = match case.work {
                    Work::Recordings(recordings) => fetch::run(stage, *subject, recordings).await?,
                    Work::Calls(load) => {
                        let plan = Plan {
                            subject: *subject,
                            load,
                            connections: case.connections,
                            bodies: bodies.get(&case.body_bytes).context("no calls of that size")?,
                            warm_up_seconds: arguments.warm_up,
                            full: full.get(&case.rows).map(String::as_str),
                        };
                        measure::run(stage, &plan).await?
                    }
                };
                let run = Run { subject: *subject, case: case.label.clone(), round, measures };
                say::run(&run);
                runs.push(run);
            }
        }
    }
    sizes::remove(stage, full).await?;
    Ok(runs)
}

/// Whether calls come at a fixed rate, which needs oha.
pub(crate) fn needs_oha(scenario: Scenario, arguments: &Arguments) -> bool {
    scenario == Scenario::Rates || scenario == Scenario::Bloat && arguments.bloat_rate > 0
}

/// Whether any subject that is to be measured talks to RabbitMQ.
pub(crate) fn needs_broker(arguments: &Arguments) -> bool {
    let subjects = arguments.scenarios.iter().flat_map(|scenario| scenario.subjects());
    subjects.filter(|subject| arguments.only.contains(subject)).any(|subject| subject.needs_broker())
}
