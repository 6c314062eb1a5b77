//! One run of calls: a new subject, a warm-up, the load, the time until the last event is confirmed, and the proof that
//! every answered call is stored.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use callvine_domain::api_key::Environment;
use callvine_domain::call::{Call, CallId, NewCall};
use callvine_domain::event::Events;
use chrono::{SubsecRound as _, Utc};
use uuid::Uuid;

use crate::bodies::Bodies;
use crate::instance::{Instance, create_key};
use crate::load::{self, Loaded, Target};
use crate::results::{Confirms, Measures};
use crate::stage::Stage;
use crate::subject::{Kind, Subject};
use crate::watch::{Seen, Watch};

/// Pause between two lonely calls, in which every process becomes idle.
const LONELY_PAUSE: Duration = Duration::from_millis(20);

/// The plan of a run.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) subject: Subject,
    pub(crate) load: Load,
    pub(crate) connections: u32,
    pub(crate) bodies: &'a Bodies,
    /// Seconds of full load before the measured part; 0 for none.
    pub(crate) warm_up_seconds: u32,
    /// A database with full tables, instead of a new one.
    pub(crate) full: Option<&'a str>,
}

/// The way in which calls come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// Every connection sends its next call as soon as the last was answered.
    Busy { seconds: u32 },
    /// Calls come at a rate, whether the last ones were answered or not.
    Rate { calls_per_second: u32, seconds: u32 },
    /// A number of calls comes as fast as they are answered.
    Burst { calls: u32 },
    /// Calls come one at a time, with pauses.
    Lonely { calls: u32 },
}

/// Makes one run.
pub(crate) async fn run(stage: &Stage, plan: &Plan<'_>) -> anyhow::Result<Measures> {
    let measured = match plan.subject.kind() {
        Kind::Http => http(stage, plan).await,
        Kind::Pgbench { clients } => pgbench(stage, plan, clients).await,
        Kind::Broker => broker(stage, plan).await,
        Kind::Fetch => bail!("it takes no calls"),
    };
    measured.with_context(|| format!("cannot measure {}", plan.subject.title()))
}

async fn http(stage: &Stage, plan: &Plan<'_>) -> anyhow::Result<Measures> {
    let mut instance = Instance::start(stage, plan.subject, plan.full).await?;
    let (url, key) = (instance.url.clone(), instance.key.clone());
    let target = Target {
        url: &url,
        key: &key,
        bodies: plan.bodies,
        connections: plan.connections,
        numbered_header: None,
    };
    let mut answered = load::raw::probe(target).await?;
    if plan.warm_up_seconds > 0 {
        answered += load::wrk::run(target, &stage.directory, plan.warm_up_seconds).await?.calls;
        // wrk ends with calls still unanswered. This call is answered after them, so nothing is left of the warm-up
        // when the measured part begins.
        answered += load::raw::probe(target).await?;
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

/// Puts a server under load.
pub(crate) async fn generate(stage: &Stage, plan: &Plan<'_>, target: Target<'_>) -> anyhow::Result<Loaded> {
    match plan.load {
        Load::Busy { seconds } => load::wrk::run(target, &stage.directory, seconds).await,
        Load::Rate { calls_per_second, seconds } => {
            load::oha::run(target, &stage.oha, (calls_per_second, seconds)).await
        }
        Load::Burst { calls } => load::raw::burst(target, calls).await,
        Load::Lonely { calls } => load::raw::lonely(target, calls, LONELY_PAUSE).await,
    }
}

/// Waits for the last confirm; `None` for a subject that publishes nothing.
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
    let stored = Call {
        id: CallId(1_234_567),
        call: Arc::new(call),
        created_at: Utc::now().trunc_subsecs(0),
        env: Environment::Live,
    };
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
    /// Seconds of the measured part, for pgbench and the broker, which are only measured under full load.
    fn seconds(&self) -> u32 {
        match self.load {
            Load::Busy { seconds } | Load::Rate { seconds, .. } => seconds,
            Load::Burst { .. } | Load::Lonely { .. } => 1,
        }
    }
}
