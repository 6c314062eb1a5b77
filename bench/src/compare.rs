//! Compares two builds of the program: both run on the same servers and take turns under load. A shared machine's speed
//! changes by a fifth within seconds, so short turns in large number tell a change of the program from one of the
//! machine.

use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::arguments::Arguments;
use crate::bodies::{Bodies, USUAL_BYTES};
use crate::instance::Instance;
use crate::load::{self, Target};
use crate::measure::drain;
use crate::results::Measures;
use crate::say;
use crate::spread::{Figure, Spread};
use crate::stage::Stage;
use crate::subject::Subject;
use crate::watch::{Seen, Watch};

/// The figures that are compared, with their names.
const FIGURES: [(&str, Figure); 6] = [
    ("calls/s", |measures| Some(measures.calls as f64 / measures.seconds)),
    ("p50 ms", |measures| measures.latency.map(|latency| latency.p50_ms)),
    ("p99 ms", |measures| measures.latency.map(|latency| latency.p99_ms)),
    ("server µs a call", |measures| Some(measures.cpu.server_us)),
    ("PostgreSQL µs a call", |measures| Some(measures.cpu.postgres_us)),
    ("all processors µs a call", |measures| Some(measures.cpu.machine_us)),
];

/// The set-ups of the program that can be compared.
const SUBJECTS: [Subject; 4] =
    [Subject::Gateway, Subject::GatewayConfirmed, Subject::GatewayStream, Subject::Embedded];

/// Whether any set-up that is to be compared talks to RabbitMQ.
pub(crate) fn needs_broker(arguments: &Arguments) -> bool {
    SUBJECTS.into_iter().any(|subject| subject.needs_broker() && arguments.only.contains(&subject))
}

/// Compares the program with another build in the given set-ups, with the given numbers of connections, and prints the
/// ratios.
pub(crate) async fn run(mut stage: Stage, other: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let other = other.canonicalize().with_context(|| format!("{} is missing", other.display()))?;
    let bodies = Bodies::write(USUAL_BYTES, &stage.directory)?;
    for subject in SUBJECTS.into_iter().filter(|subject| arguments.only.contains(subject)) {
        for connections in &arguments.connections {
            let program = Instance::start(&stage, subject, None).await?;
            let callvine = std::mem::replace(&mut stage.callvine, other.clone());
            let against = Instance::start(&stage, subject, None).await?;
            stage.callvine = callvine;
            let mut sides = [program, against];
            let mut pairs = Vec::new();
            sides.iter_mut().for_each(Instance::pause);
            let plan = Turn {
                subject,
                bodies: &bodies,
                connections: *connections,
                seconds: arguments.seconds,
                numbered_header: None,
            };
            let ours = Turn { numbered_header: arguments.keyed.then_some("Idempotency-Key"), ..plan };
            let others = Turn { numbered_header: arguments.keyed.then_some("X-Without-Meaning"), ..plan };
            for side in &mut sides {
                turn(&stage, side, Turn { seconds: arguments.warm_up.max(1), ..plan }).await?;
            }
            for round in 0..arguments.rounds {
                let [program, other] = &mut sides;
                // A B B A: a machine that becomes slower from turn to turn does so for both.
                pairs.push(if round % 2 == 0 {
                    let program = turn(&stage, program, ours).await?;
                    (program, turn(&stage, other, others).await?)
                } else {
                    let other = turn(&stage, other, others).await?;
                    (turn(&stage, program, ours).await?, other)
                });
                stage.checkpoint().await?;
            }
            for side in sides {
                side.remove(&stage).await?;
            }
            say::line(&table(subject, *connections, &pairs));
        }
    }
    Ok(())
}

/// One turn of a side.
#[derive(Clone, Copy)]
struct Turn<'a> {
    subject: Subject,
    bodies: &'a Bodies,
    connections: u32,
    seconds: u32,
    numbered_header: Option<&'static str>,
}

/// Puts one side under load while the other is stopped.
async fn turn(stage: &Stage, side: &mut Instance, plan: Turn<'_>) -> anyhow::Result<Measures> {
    side.resume();
    let Turn { subject, bodies, connections, seconds, numbered_header } = plan;
    let (url, key) = (side.url.clone(), side.key.clone());
    let target = Target { url: &url, key: &key, bodies, connections, numbered_header };
    load::raw::probe(target).await?;
    let watch = Watch::begin(&side.pids())?;
    let (loaded, server_mib) = watch.while_loaded(load::wrk::run(target, &stage.directory, seconds)).await?;
    ensure!(loaded.failures == 0, "{} calls were not answered 201", loaded.failures);
    let confirms = drain(subject, side).await?;
    let measures = watch.end(stage, loaded, Seen { server_mib, confirms })?;
    side.check()?;
    side.pause();
    Ok(measures)
}

fn table(subject: Subject, connections: u32, pairs: &[(Measures, Measures)]) -> String {
    let mut lines = vec![format!(
        "\n{}, {connections} connections, {} pairs: this build, the other; median ratio (range)",
        subject.title(),
        pairs.len()
    )];
    for (name, figure) in FIGURES {
        let values = pairs.iter().filter_map(|(one, other)| Some((figure(one)?, figure(other)?)));
        let values: Vec<(f64, f64)> = values.filter(|(_, other)| *other > 0.0).collect();
        let ours = Spread::of(values.iter().map(|(one, _)| *one));
        let others = Spread::of(values.iter().map(|(_, other)| *other));
        let ratio = Spread::of(values.iter().map(|(one, other)| one / other));
        if let (Some(ours), Some(others), Some(ratio)) = (ours, others, ratio) {
            lines.push(format!(
                "  {name:24} {:>10.1} {:>10.1}   {:.3}x ({:.3} to {:.3})",
                ours.median, others.median, ratio.median, ratio.min, ratio.max
            ));
        }
    }
    lines.join("\n")
}
