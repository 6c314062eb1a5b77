//! `callvine up`, `gateway` and `worker`: settings in, a process that runs until it is told to stop.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use callvine_shared::objects::Address;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::args::{Broker, Database, Gateway, RecordingsPlace, Up, Worker};
use crate::failure::Failure;
use crate::process::{Plan, Public, Running, setting_failure, url_of};
use crate::telemetry;

/// Below the data directory: where recordings are kept by default.
const RECORDINGS: &str = "recordings";

/// Below the data directory: what is fetched and not yet in a bucket.
const STAGING: &str = "staging";

/// Everything in one process.
pub(crate) async fn up(up: Up) -> Result<(), Failure> {
    let shutdown_timeout = up.process.shutdown_timeout;
    until_signal(plan_of_up(up)?, shutdown_timeout).await
}

/// What `callvine up` with these settings is made of.
pub(crate) fn plan_of_up(up: Up) -> Result<Plan, Failure> {
    let recordings = recordings(&up.recordings, &up.database.data_dir)?;
    Ok(Plan {
        // The published test keys are for trying it out, on one machine.
        gateway: Some(Public { dev_keys: up.gateway.accepts_dev_keys(true), settings: up.gateway }),
        admin: up.admin,
        worker: Some(up.worker),
        database_url: url_of(&up.database),
        broker: present(up.broker),
        recordings: Some(recordings),
        migrate: !up.process.no_migrate,
    })
}

/// The HTTP ingest process alone.
pub(crate) async fn gateway(gateway: Gateway) -> Result<(), Failure> {
    let broker = present(gateway.broker);
    require_servers("gateway", &gateway.database, &broker)?;
    let plan = Plan {
        gateway: Some(Public {
            dev_keys: gateway.gateway.accepts_dev_keys(false),
            settings: gateway.gateway,
        }),
        admin: gateway.admin,
        worker: None,
        database_url: url_of(&gateway.database),
        broker,
        recordings: None,
        migrate: !gateway.process.no_migrate,
    };
    until_signal(plan, gateway.process.shutdown_timeout).await
}

/// The recording worker alone.
pub(crate) async fn worker(worker: Worker) -> Result<(), Failure> {
    let broker = present(worker.broker);
    require_servers("worker", &worker.database, &broker)?;
    let plan = Plan {
        admin: worker.admin,
        gateway: None,
        worker: Some(worker.worker),
        database_url: url_of(&worker.database),
        broker,
        recordings: Some(recordings(&worker.recordings, &worker.database.data_dir)?),
        migrate: !worker.process.no_migrate,
    };
    until_signal(plan, worker.process.shutdown_timeout).await
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

/// One line a listener, once they are ready.
#[expect(clippy::print_stdout, reason = "what the command has to say")]
pub(crate) fn announce(running: &Running) {
    if let Some(url) = &running.public_url {
        println!("listening public {url}");
    }
    if let Some(url) = &running.admin_url {
        println!("listening admin {url}");
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

/// An empty variable counts as absent.
fn present(mut broker: Broker) -> Broker {
    broker.amqp_url = broker.amqp_url.filter(|url| !url.is_empty());
    broker
}

fn require_servers(command: &str, database: &Database, broker: &Broker) -> Result<(), Failure> {
    let url = url_of(database);
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(Failure::Setting(format!(
            "--database-url (DATABASE_URL): `callvine {command}` shares its database with other processes, so it \
             must be postgres://… (for one process with SQLite, run `callvine up`)"
        )));
    }
    if broker.amqp_url.is_none() {
        return Err(Failure::Setting(format!(
            "--amqp-url (AMQP_URL): `callvine {command}` needs a broker, amqp://… (without one, run `callvine up`)"
        )));
    }
    Ok(())
}

/// Where recordings are kept: as told, or below the data directory.
pub(crate) fn recordings(place: &RecordingsPlace, data_dir: &Path) -> Result<Address, Failure> {
    let url = match place.recordings_url.as_deref() {
        Some(url) if !url.is_empty() => url.to_owned(),
        _ => {
            let directory = std::path::absolute(data_dir.join(RECORDINGS))
                .with_context(|| format!("{} (CALLVINE_DATA_DIR) can't be used", data_dir.display()))?;
            Url::from_file_path(&directory)
                .map_err(|()| Failure::Setting("--data-dir (CALLVINE_DATA_DIR) can't be used".to_owned()))?
                .into()
        }
    };
    let is_of_aws = |name: &str| name.starts_with("AWS_");
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let aws: Vec<(String, String)> = variables
        .filter(|(name, _)| is_of_aws(name))
        .filter_map(|(name, value)| Some((name, value.into_string().ok()?)))
        .collect();
    Address::parse(&url, data_dir.join(STAGING), &aws).map_err(setting_failure)
}
