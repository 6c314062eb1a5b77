//! One run: a fresh subject, a warm-up, the load, the time until its last event is confirmed, and the proof that every
//! call that was answered is stored.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use callvine_shared::call::{Call, CallId, NewCall};
use callvine_shared::event::Events;
use chrono::{SubsecRound as _, Utc};
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use crate::bodies::Bodies;
use crate::instance::{Instance, create_key};
use crate::load::{self, Loaded, Target};
use crate::procfs::{Snapshot, pss_mib};
use crate::results::{Confirms, Cpu, Measures, Memory};
use crate::scenarios::fetch::{self, Recordings};
use crate::stage::Stage;
use crate::subject::{Kind, Subject};

/// How often the server's memory is looked at while it is under load; a look takes about a millisecond.
const MEMORY_INTERVAL: Duration = Duration::from_millis(500);

/// Between two lonely calls: long enough for everything to have gone quiet.
const LONELY_PAUSE: Duration = Duration::from_millis(20);

/// What a run is to do.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) subject: Subject,
    pub(crate) load: Load,
    pub(crate) connections: u32,
    pub(crate) bodies: &'a Bodies,
    /// Of every connection busy, before what is measured; 0 for none.
    pub(crate) warm_up_seconds: u32,
    /// A database that is full already, instead of a new one.
    pub(crate) full: Option<&'a str>,
}

/// How calls come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// Every connection sends as soon as it was answered.
    Busy { seconds: u32 },
    /// At a rate, whatever was answered.
    Rate { calls_per_second: u32, seconds: u32 },
    /// A number of calls, as fast as they are taken.
    Burst { calls: u32 },
    /// One at a time, with pauses.
    Lonely { calls: u32 },
    /// A number of recordings, as fast as they are fetched.
    Fetch(Recordings),
}

/// Makes one run.
pub(crate) async fn run(stage: &Stage, plan: &Plan<'_>) -> anyhow::Result<Measures> {
    let measured = match plan.subject.kind() {
        Kind::Http => http(stage, plan).await,
        Kind::Pgbench { clients } => pgbench(stage, plan, clients).await,
        Kind::Broker => broker(stage, plan).await,
        Kind::Fetch => fetch::run(stage, plan.subject, plan.recordings()?).await,
    };
    measured.with_context(|| format!("cannot measure {}", plan.subject.title()))
}

async fn http(stage: &Stage, plan: &Plan<'_>) -> anyhow::Result<Measures> {
    let mut instance = Instance::start(stage, plan.subject, plan.full).await?;
    // The address and key are kept apart from what is asked about meanwhile.
    let (url, key) = (instance.url.clone(), instance.key.clone());
    let target = Target { url: &url, key: &key, bodies: plan.bodies, connections: plan.connections };
    let mut answered = probe(target).await?;
    if plan.warm_up_seconds > 0 {
        answered += load::wrk::run(target, &stage.directory, plan.warm_up_seconds).await?.calls;
        // wrk leaves when its time is over, whatever is still unanswered: a call behind all that is answered after it, so
        // that what is measured begins with nothing left.
        answered += probe(target).await?;
    }
    drain(plan.subject, &mut instance).await?;

    let watch = Watch::begin(&instance.pids())?;
    let (loaded, server_mib) = watch.while_loaded(generate(stage, plan, target)).await?;
    let confirms = drain(plan.subject, &mut instance).await?;
    let measures = watch.end(stage, loaded, Seen { server_mib, confirms })?;

    instance.check()?;
    answered += loaded.calls;
    if let Some(ledger) = &mut instance.ledger {
        let stored = ledger.calls().await?;
        ensure!(stored >= answered, "{answered} calls were answered 201, and only {stored} are stored");
    }
    if confirms.is_some_and(|confirms| confirms.left == 0) {
        instance.prove_published(answered).await?;
    }
    instance.remove(stage).await?;
    Ok(measures)
}

/// Posts one call and makes sure that it is answered 201; returns how many were.
pub(crate) async fn probe(target: Target<'_>) -> anyhow::Result<u64> {
    let loaded = load::raw::lonely(target, 1, LONELY_PAUSE).await?;
    ensure!(loaded.calls == 1, "a valid call is not answered 201");
    Ok(loaded.calls)
}

/// Puts a server under load.
pub(crate) async fn generate(stage: &Stage, plan: &Plan<'_>, target: Target<'_>) -> anyhow::Result<Loaded> {
    match plan.load {
        Load::Busy { seconds } => load::wrk::run(target, &stage.directory, seconds).await,
        Load::Rate { calls_per_second, seconds } => {
            load::oha::run(target, &stage.oha, (calls_per_second, seconds)).await
        }
        Load::Burst { calls } => load::raw::burst(target, calls).await,
        Load::Lonely { calls } => load::raw::lonely(target, calls, LONELY_PAUSE).await,
        Load::Fetch(_) => bail!("recordings are fetched by what has a worker"),
    }
}

/// Waits for the last confirm, where events are published at all.
pub(crate) async fn drain(subject: Subject, instance: &mut Instance) -> anyhow::Result<Option<Confirms>> {
    match &mut instance.ledger {
        Some(ledger) if subject.publishes() => ledger.drain().await.map(Some),
        _ => Ok(None),
    }
}

async fn pgbench(stage: &Stage, plan: &Plan<'_>, clients: u32) -> anyhow::Result<Measures> {
    let database = stage.database().await;
    create_key(stage, &database).await;
    stage.checkpoint().await?;
    if plan.warm_up_seconds > 0 {
        load::pgbench::run(&database, &stage.directory, (clients, plan.warm_up_seconds)).await?;
    }
    let watch = Watch::begin(&[])?;
    let loaded = load::pgbench::run(&database, &stage.directory, (clients, plan.seconds())).await?;
    let measures = watch.end(stage, loaded, Seen::default())?;
    stage.drop_database(&database).await?;
    Ok(measures)
}

async fn broker(stage: &Stage, plan: &Plan<'_>) -> anyhow::Result<Measures> {
    let vhost = stage.vhost().await?;
    let body = plan.bodies.lines.first().context("there are no calls to send")?;
    let call = NewCall::parse(body.as_bytes())?;
    let stored =
        Call { id: CallId(1_234_567), call: Arc::new(call), created_at: Utc::now().trunc_subsecs(0) };
    let event = Events::new(Uuid::nil()).call_created(&stored).body;
    if plan.warm_up_seconds > 0 {
        load::broker::run(&vhost, event.clone(), plan.warm_up_seconds).await?;
    }
    let watch = Watch::begin(&[])?;
    let loaded = load::broker::run(&vhost, event, plan.seconds()).await?;
    let measures = watch.end(stage, loaded, Seen::default())?;
    stage.drop_vhost(&vhost).await?;
    Ok(measures)
}

impl Plan<'_> {
    fn recordings(&self) -> anyhow::Result<Recordings> {
        match self.load {
            Load::Fetch(recordings) => Ok(recordings),
            _ => bail!("there are no recordings to fetch"),
        }
    }

    /// Of the measured part, where that is a time; pgbench and the broker know no other.
    fn seconds(&self) -> u32 {
        match self.load {
            Load::Busy { seconds } | Load::Rate { seconds, .. } => seconds,
            Load::Burst { .. } | Load::Lonely { .. } | Load::Fetch(_) => 1,
        }
    }
}

/// What was seen of a server, beside its answers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) server_mib: f64,
    pub(crate) confirms: Option<Confirms>,
}

/// Reads the clocks of all processes before and after.
pub(crate) struct Watch {
    before: Snapshot,
    /// The server's processes, none of them below another.
    server_roots: Vec<i32>,
    /// These, and all that were below them at the beginning.
    server_tree: Vec<i32>,
    own_pid: i32,
}

impl Watch {
    /// Of the server with these processes, and all below them.
    pub(crate) fn begin(server_roots: &[i32]) -> anyhow::Result<Self> {
        let before = Snapshot::take()?;
        let server_tree = server_roots.iter().flat_map(|pid| before.tree(*pid)).collect();
        let own_pid = i32::try_from(std::process::id())?;
        Ok(Self { before, server_roots: server_roots.to_vec(), server_tree, own_pid })
    }

    /// Runs the load, and returns the most memory that the server was seen to have meanwhile.
    pub(crate) async fn while_loaded(
        &self,
        load: impl Future<Output = anyhow::Result<Loaded>>,
    ) -> anyhow::Result<(Loaded, f64)> {
        let mut load = std::pin::pin!(load);
        let mut looks = interval(MEMORY_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut most_mib = 0.0_f64;
        let look = || self.server_tree.iter().copied().map(pss_mib).sum::<f64>();
        loop {
            tokio::select! {
                loaded = &mut load => return Ok((loaded?, most_mib.max(look()))),
                _ = looks.tick() => most_mib = most_mib.max(look()),
            }
        }
    }

    pub(crate) fn end(&self, stage: &Stage, loaded: Loaded, seen: Seen) -> anyhow::Result<Measures> {
        let after = Snapshot::take()?;
        let calls = (loaded.calls.max(1)) as f64;
        let per_call_us = |seconds: f64| seconds * 1e6 / calls;
        let tree = |pid: i32| after.tree_seconds(pid) - self.before.tree_seconds(pid);
        let own = |at: &Snapshot| at.waited_for_seconds(self.own_pid);
        let machine = after.machine_since(&self.before);
        let memory = |pid: i32| after.tree(pid).into_iter().map(pss_mib).sum::<f64>();
        let cpu = Cpu {
            // Not `sum`: that of none is a negative zero.
            server_us: per_call_us(self.server_roots.iter().copied().map(tree).fold(0.0, |sum, s| sum + s)),
            postgres_us: per_call_us(tree(stage.postgres_pid())),
            rabbitmq_us: per_call_us(stage.rabbitmq_pid().map_or(0.0, tree)),
            // The load generator is a child that has been waited for, or this program itself.
            load_us: per_call_us(own(&after) - own(&self.before)),
            machine_us: per_call_us(machine.busy_seconds),
            busy_cores: machine.busy_cores,
            stolen: machine.stolen,
        };
        Ok(Measures {
            calls: loaded.calls,
            failures: loaded.failures,
            seconds: loaded.seconds,
            latency: loaded.latency,
            confirms: seen.confirms,
            outbox: None,
            cpu,
            memory: Memory {
                server_mib: seen.server_mib,
                postgres_mib: memory(stage.postgres_pid()),
                rabbitmq_mib: stage.rabbitmq_pid().map_or(0.0, memory),
            },
        })
    }
}
