//! An hour of load on one running instance. It shows whether the outbox, which every event enters and leaves, stays
//! small.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::sleep;

use super::cases::USUAL_CONNECTIONS;
use super::sizes;
use crate::arguments::Arguments;
use crate::bodies::{Bodies, USUAL_BYTES};
use crate::instance::Instance;
use crate::load::{self, Target};
use crate::measure::{self, Load, Plan};
use crate::results::{Measures, Run};
use crate::say;
use crate::stage::Stage;
use crate::subject::Subject;
use crate::watch::{Seen, Watch};

/// The subject that is put under load.
const SUBJECT: Subject = Subject::GatewayConfirmed;

/// Most samples; a longer load has samples of more than a minute.
const SAMPLES_MAX: u32 = 60;

/// Samples of a short run.
const QUICK_SAMPLES: u32 = 3;

/// The outbox is read this long before a sample ends, while the load goes on.
const LOOK_BEFORE_END: Duration = Duration::from_millis(500);

/// An upper bound of the calls a second under full load, for the estimate of the disk.
const BUSY_MAX_RATE: u32 = 20_000;

/// Bytes of disk that a call takes, with its share of the write-ahead log and of the broker's files.
const CALL_BYTES: u64 = 2_000;

/// The load, and its division into samples.
struct Pace {
    samples: u32,
    /// Seconds of each sample.
    seconds: u32,
    load: Load,
    /// An upper bound of all calls.
    calls_max: u64,
}

impl Pace {
    fn of(arguments: &Arguments) -> Self {
        let (samples, seconds) = if arguments.quick {
            (QUICK_SAMPLES, arguments.seconds)
        } else {
            let minutes = arguments.minutes.div_ceil(SAMPLES_MAX);
            (arguments.minutes.div_ceil(minutes), minutes * 60)
        };
        let (load, rate) = match arguments.bloat_rate {
            0 => (Load::Busy { seconds }, BUSY_MAX_RATE),
            calls_per_second => (Load::Rate { calls_per_second, seconds }, calls_per_second),
        };
        let calls_max = u64::from(samples) * u64::from(seconds) * u64::from(rate);
        Self { samples, seconds, load, calls_max }
    }

    /// The name of a sample: the part of the load that is over at its end.
    fn label(&self, sample: u32) -> String {
        match sample * self.seconds {
            seconds if self.seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
            seconds => format!("{seconds} s"),
        }
    }
}

/// Returns a run for each sample, and the seconds of each.
pub(super) async fn run(stage: &Stage, arguments: &Arguments) -> anyhow::Result<(Vec<Run>, u32)> {
    let pace = Pace::of(arguments);
    if !arguments.only.contains(&SUBJECT) {
        return Ok((Vec::new(), pace.seconds));
    }
    sizes::check_disk(stage, pace.calls_max * CALL_BYTES)?;
    let bodies = Bodies::write(USUAL_BYTES, &stage.directory)?;
    let mut instance = Instance::start(stage, SUBJECT, None).await?;
    let (url, key) = (instance.url.clone(), instance.key.clone());
    let target = Target {
        url: &url,
        key: &key,
        bodies: &bodies,
        connections: USUAL_CONNECTIONS,
        numbered_header: None,
    };
    let mut answered = load::raw::probe(target).await?;
    let mut taken = 0;
    let mut runs = Vec::new();
    for sample in 1..=pace.samples {
        let measures = measure_one(stage, &mut instance, target, &pace).await?;
        answered += measures.calls;
        // As a worker would. A queue that only grows would slow the broker down, and the outbox is to be measured.
        taken += instance.empty_queue().await?;
        let run = Run { subject: SUBJECT, case: pace.label(sample), round: 1, measures };
        say::run(&run);
        runs.push(run);
    }
    let ledger = instance.ledger.as_mut().context("the subject has no database")?;
    let left = ledger.drain().await?.left;
    ensure!(left == 0, "{left} events were never confirmed");
    let stored = ledger.calls().await?;
    ensure!(stored >= answered, "{answered} calls were answered 201, and only {stored} are stored");
    instance.prove_published(answered.saturating_sub(taken)).await?;
    instance.check()?;
    instance.remove(stage).await?;
    Ok((runs, pace.seconds))
}

async fn measure_one(
    stage: &Stage,
    instance: &mut Instance,
    target: Target<'_>,
    pace: &Pace,
) -> anyhow::Result<Measures> {
    let plan = Plan {
        subject: SUBJECT,
        load: pace.load,
        connections: target.connections,
        bodies: target.bodies,
        warm_up_seconds: 0,
        full: None,
    };
    let watch = Watch::begin(&instance.pids())?;
    let ledger = instance.ledger.as_mut().context("the subject has no database")?;
    let mut outbox = None;
    let load = async {
        let look = async {
            sleep(Duration::from_secs(pace.seconds.into()).saturating_sub(LOOK_BEFORE_END)).await;
            ledger.outbox().await
        };
        let (loaded, looked) = tokio::join!(measure::generate(stage, &plan, target), look);
        outbox = Some(looked?);
        loaded
    };
    let (loaded, server_mib) = watch.while_loaded(load).await?;
    let measures = watch.end(stage, loaded, Seen { server_mib, confirms: None })?;
    Ok(Measures { outbox, ..measures })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn the_number_of_samples_is_bounded() {
        for (minutes, samples, seconds, last) in
            [(1, 1, 60, "1 min"), (60, 60, 60, "60 min"), (90, 45, 120, "90 min")]
        {
            let minutes = format!("--minutes={minutes}");
            let pace = Pace::of(&Arguments::parse_from(["callvine-bench", &minutes]));
            assert_eq!((pace.samples, pace.seconds), (samples, seconds));
            assert_eq!(pace.label(samples), last);
        }
        let pace = Pace::of(&Arguments::parse_from(["callvine-bench", "--quick"]).in_little());
        assert_eq!(pace.label(pace.samples), "3 s");
    }
}
