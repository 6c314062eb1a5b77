//! `callvine up`, `gateway`, `worker` and `analyzer`: settings in, a process that runs until it is told to stop.

use std::time::Duration;

use anyhow::{Context, anyhow};
use callvine_shared::bus::BrokerUrl;
use callvine_shared::store::DatabaseUrl;
use callvine_shared::switch::on_or_off;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::{Broker, Database, RecordingsLocation, duration};
use crate::failure::Failure;
use crate::process::{Plan, Public, Running, recordings};
use crate::{telemetry, terminal};

/// The longest shutdown that can be asked for.
const SHUTDOWN_TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// Runs everything in one process: gateway, relay, worker and analyzer
///
/// Stores in SQLite and delivers in process, unless `DATABASE_URL` and `AMQP_URL` say otherwise.
#[derive(Args, Debug)]
pub(crate) struct Up {
    #[command(flatten)]
    gateway: callvine_gateway::Settings,
    #[command(flatten)]
    admin: callvine_gateway::AdminSettings,
    #[command(flatten)]
    worker: callvine_worker::Settings,
    /// Whether recordings are analysed; `off` leaves their messages in the queue `callvine.analysis`
    #[arg(
        long,
        env = "CALLVINE_ANALYSIS",
        value_name = "on|off",
        default_value = "on",
        value_parser = on_or_off,
        action = clap::ArgAction::Set,
        help_heading = "Analysis"
    )]
    analysis: bool,
    #[command(flatten)]
    analyzer: callvine_worker::analysis::Settings,
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    broker: Broker,
    #[command(flatten)]
    recordings: RecordingsLocation,
    #[command(flatten)]
    process: Process,
}

/// Runs the HTTP ingest process alone, on PostgreSQL and RabbitMQ
#[derive(Args, Debug)]
pub(crate) struct Gateway {
    #[command(flatten)]
    gateway: callvine_gateway::Settings,
    #[command(flatten)]
    admin: callvine_gateway::AdminSettings,
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    broker: Broker,
    #[command(flatten)]
    recordings: RecordingsLocation,
    #[command(flatten)]
    process: Process,
}

/// Runs the recording worker alone, on PostgreSQL and RabbitMQ; run as many as you like
#[derive(Args, Debug)]
pub(crate) struct Worker {
    #[command(flatten)]
    worker: callvine_worker::Settings,
    #[command(flatten)]
    admin: callvine_gateway::AdminSettings,
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    broker: Broker,
    #[command(flatten)]
    recordings: RecordingsLocation,
    #[command(flatten)]
    process: Process,
}

/// Runs the analyzer alone, on PostgreSQL and RabbitMQ; run as many as you like
#[derive(Args, Debug)]
pub(crate) struct Analyzer {
    #[command(flatten)]
    analyzer: callvine_worker::analysis::Settings,
    #[command(flatten)]
    admin: callvine_gateway::AdminSettings,
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    broker: Broker,
    #[command(flatten)]
    recordings: RecordingsLocation,
    #[command(flatten)]
    process: Process,
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Process")]
struct Process {
    /// Don't bring the database to the current schema at the start
    #[arg(long, env = "CALLVINE_NO_MIGRATE", value_parser = clap::builder::FalseyValueParser::new())]
    no_migrate: bool,
    /// How long a shutdown may take
    #[arg(
        long,
        env = "CALLVINE_SHUTDOWN_TIMEOUT",
        value_name = "TIME",
        default_value = "30s",
        value_parser = shutdown_timeout
    )]
    shutdown_timeout: Duration,
}

/// Everything in one process.
pub(crate) async fn up(up: Up) -> Result<(), Failure> {
    let shutdown_timeout = up.process.shutdown_timeout;
    until_signal(plan_of_up(up)?, shutdown_timeout).await
}

/// The parts of `callvine up` with these settings.
pub(crate) fn plan_of_up(up: Up) -> Result<Plan, Failure> {
    let recordings = recordings(&up.recordings, &up.database.data_dir)?;
    Ok(Plan {
        // The published test keys are for trying it out, on one machine.
        gateway: Some(Public { dev_keys: up.gateway.accepts_dev_keys(true), settings: up.gateway }),
        admin: up.admin,
        worker: Some(up.worker),
        analyzer: up.analysis.then_some(up.analyzer),
        database: up.database.url()?,
        data_dir: up.database.data_dir,
        broker: up.broker.url()?,
        stream: up.broker.stream,
        publish_delay: up.broker.publish_delay,
        recordings: Some(recordings),
        migrate: !up.process.no_migrate,
    })
}

/// The HTTP ingest process alone.
pub(crate) async fn gateway(gateway: Gateway) -> Result<(), Failure> {
    let (database, broker) = require_servers("gateway", &gateway.database, &gateway.broker)?;
    // Without a location it sends no recordings: the worker's own default may be on another host.
    let recordings = if gateway.recordings.is_set() {
        Some(recordings(&gateway.recordings, &gateway.database.data_dir)?)
    } else {
        None
    };
    let plan = Plan {
        gateway: Some(Public {
            dev_keys: gateway.gateway.accepts_dev_keys(false),
            settings: gateway.gateway,
        }),
        admin: gateway.admin,
        worker: None,
        analyzer: None,
        database,
        data_dir: gateway.database.data_dir,
        broker: Some(broker),
        stream: gateway.broker.stream,
        publish_delay: gateway.broker.publish_delay,
        recordings,
        migrate: !gateway.process.no_migrate,
    };
    until_signal(plan, gateway.process.shutdown_timeout).await
}

/// The recording worker alone.
pub(crate) async fn worker(worker: Worker) -> Result<(), Failure> {
    let (database, broker) = require_servers("worker", &worker.database, &worker.broker)?;
    let plan = Plan {
        admin: worker.admin,
        gateway: None,
        worker: Some(worker.worker),
        analyzer: None,
        database,
        data_dir: worker.database.data_dir.clone(),
        broker: Some(broker),
        stream: worker.broker.stream,
        publish_delay: worker.broker.publish_delay,
        recordings: Some(recordings(&worker.recordings, &worker.database.data_dir)?),
        migrate: !worker.process.no_migrate,
    };
    until_signal(plan, worker.process.shutdown_timeout).await
}

/// The analyzer alone.
pub(crate) async fn analyzer(analyzer: Analyzer) -> Result<(), Failure> {
    let (database, broker) = require_servers("analyzer", &analyzer.database, &analyzer.broker)?;
    let plan = Plan {
        admin: analyzer.admin,
        gateway: None,
        worker: None,
        analyzer: Some(analyzer.analyzer),
        database,
        data_dir: analyzer.database.data_dir.clone(),
        broker: Some(broker),
        stream: analyzer.broker.stream,
        publish_delay: analyzer.broker.publish_delay,
        recordings: Some(recordings(&analyzer.recordings, &analyzer.database.data_dir)?),
        migrate: !analyzer.process.no_migrate,
    };
    until_signal(plan, analyzer.process.shutdown_timeout).await
}

/// Runs until SIGTERM or SIGINT, then stops in order. A second signal ends it at once.
async fn until_signal(plan: Plan, shutdown_timeout: Duration) -> Result<(), Failure> {
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let signalled = stop.clone();
    tokio::spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        tracing::info!("stopping; a second signal ends at once");
        signalled.cancel();
        either(&mut terminate, &mut interrupt).await;
        tracing::warn!("ended by a second signal; what was not finished goes on at the next start");
        std::process::exit(1);
    });
    let metrics = telemetry::start_metrics()?;
    let Some(running) = Running::start(plan, metrics, &stop).await? else { return Ok(()) };
    announce(&running);
    let failed = tokio::select! {
        () = stop.cancelled() => false,
        () = running.failed() => true,
    };
    running.stop(shutdown_timeout).await;
    if failed { Err(anyhow!("a part of the process has ended; its log says which").into()) } else { Ok(()) }
}

/// Prints a line for each listener, once they are ready. The process goes on without a reader: it serves others.
pub(crate) fn announce(running: &Running) {
    let listeners = [("public", &running.public_url), ("admin", &running.admin_url)];
    for (name, url) in listeners {
        if let Some(url) = url
            && terminal::line(format_args!("listening {name} {url}")).is_err()
        {
            tracing::debug!("nobody reads where the {name} listener is");
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    Ok(signal(kind).context("cannot listen to signals")?)
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// The servers that processes share, each of which must be named.
fn require_servers(
    command: &str,
    database: &Database,
    broker: &Broker,
) -> Result<(DatabaseUrl, BrokerUrl), Failure> {
    let database = database.url()?;
    if database.file().is_some() {
        return Err(Failure::Setting(format!(
            "--database-url (DATABASE_URL): `callvine {command}` shares its database with other processes, so it \
             must be postgres://… (for one process with SQLite, run `callvine up`)"
        )));
    }
    let broker = broker.url()?.ok_or_else(|| {
        Failure::Setting(format!(
            "--amqp-url (AMQP_URL): `callvine {command}` needs a broker, amqp://… (without one, run `callvine up`)"
        ))
    })?;
    Ok((database, broker))
}

fn shutdown_timeout(text: &str) -> Result<Duration, String> {
    duration(text, SHUTDOWN_TIMEOUT_MAX, "30s")
}
