//! One running subject with its own database, virtual host, processes and key, and the removal of all of them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use harness::{Process, Signal, eventually, new_directory, run};
use lapin::options::{QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use yardstick::API_KEY;

use crate::launch::{self, Resources, Started};
use crate::ledger::Ledger;
use crate::php;
use crate::stage::Stage;
use crate::subject::Subject;

/// Limit for a queue to count its messages, far above the moments that it needs.
const COUNT_DEADLINE: Duration = Duration::from_secs(30);

/// The queue that the program publishes a call's event to.
const QUEUE: &str = "callvine.recordings";
/// The queue that the naive gateway publishes a call's event to.
const NAIVE_QUEUE: &str = "naive.recordings";

/// The name of the program's SQLite file in its data directory.
const SQLITE_FILE: &str = "callvine.db";

/// A running server that takes calls.
pub(crate) struct Instance {
    process: Process,
    /// The webhook's address.
    pub(crate) url: String,
    /// The API key that calls are sent with.
    pub(crate) key: String,
    /// The database that its calls are in; `None` for a server that stores nothing.
    pub(crate) ledger: Option<Ledger>,
    directory: PathBuf,
    database: Option<String>,
    vhost: Option<String>,
    queue: &'static str,
    /// The worker beside a gateway, or php-fpm behind nginx.
    beside: Option<Process>,
}

impl Instance {
    /// Starts a subject on a database that is full already, or on a new one.
    pub(crate) async fn start(stage: &Stage, subject: Subject, full: Option<&str>) -> anyhow::Result<Self> {
        Self::start_with(stage, subject, full, None).await
    }

    /// Starts a subject on a new database, with a worker that fetches this many recordings at once.
    pub(crate) async fn fetching(stage: &Stage, subject: Subject, at_once: u32) -> anyhow::Result<Self> {
        Self::start_with(stage, subject, None, Some(at_once)).await
    }

    async fn start_with(
        stage: &Stage,
        subject: Subject,
        full: Option<&str>,
        at_once: Option<u32>,
    ) -> anyhow::Result<Self> {
        let database = match (full, subject) {
            (_, Subject::Echo | Subject::Validate | Subject::Embedded | Subject::EmbeddedWorker) => None,
            (Some(url), _) => Some(url.to_owned()),
            (None, _) => Some(stage.database().await),
        };
        let vhost = if subject.needs_broker() { Some(stage.vhost().await?) } else { None };
        let key = match &database {
            Some(url) => create_key(stage, url).await,
            None => API_KEY.to_owned(),
        };
        let directory = new_directory("subject");
        let ledger = match (&database, subject) {
            (Some(url), _) => {
                prepare(stage, subject, url).await?;
                Some(Ledger::postgres(url).await?)
            }
            (None, Subject::Embedded | Subject::EmbeddedWorker) => {
                Some(Ledger::Sqlite { file: directory.join(SQLITE_FILE) })
            }
            (None, _) => None,
        };
        let resources = Resources {
            directory: &directory,
            database: database.as_deref(),
            vhost: vhost.as_deref(),
            key: &key,
            at_once,
        };
        let Started { process, beside, address } = launch::start(stage, subject, &resources).await?;
        let url = format!("{address}/webhook.php");
        let key = if subject.is_naive() { API_KEY.to_owned() } else { key };
        let is_full = full.is_some();
        let database = database.filter(|_| !is_full);
        let queue = match subject {
            Subject::PhpAmqp => php::QUEUE,
            _ if subject.is_naive() => NAIVE_QUEUE,
            _ => QUEUE,
        };
        Ok(Self { process, url, key, ledger, directory, database, vhost, queue, beside })
    }

    /// The ids of the processes that answer a call, without those below them.
    pub(crate) fn pids(&self) -> Vec<i32> {
        [&self.process].into_iter().chain(&self.beside).map(|process| process.pid().as_raw_pid()).collect()
    }

    /// The id of the process that fetches recordings.
    pub(crate) fn worker_pid(&self) -> i32 {
        self.beside.as_ref().unwrap_or(&self.process).pid().as_raw_pid()
    }

    /// Fails when a process has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        for process in [&mut self.process].into_iter().chain(&mut self.beside) {
            if let Some(status) = process.exited() {
                bail!("it has ended with {status}\n{}", process.account());
            }
        }
        Ok(())
    }

    /// Stops its processes until they are [resumed](Self::resume).
    pub(crate) fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Lets its processes go on.
    pub(crate) fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    fn signal(&mut self, signal: Signal) {
        for process in [&mut self.process].into_iter().chain(&mut self.beside) {
            process.signal(signal);
        }
    }

    /// Takes all events out of the queue, as a worker would; returns how many there were.
    pub(crate) async fn empty_queue(&self) -> anyhow::Result<u64> {
        let vhost = self.vhost.as_deref().context("without a broker there is no queue")?;
        let connection = Connection::connect(vhost, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let events = channel.queue_purge(self.queue.into(), QueuePurgeOptions::default()).await?;
        connection.close(200, "emptied".into()).await?;
        Ok(events.into())
    }

    /// Waits until the queue has at least this many events; a subject without a broker has no queue.
    pub(crate) async fn prove_published(&self, events: u64) -> anyhow::Result<()> {
        let Some(vhost) = &self.vhost else {
            return Ok(());
        };
        let connection = Connection::connect(vhost, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        // A quorum queue counts its messages some moments after it has confirmed them.
        eventually(COUNT_DEADLINE, "the queue has counted its messages", async || {
            let queue = channel.queue_declare(self.queue.into(), passive, FieldTable::default()).await;
            queue.is_ok_and(|queue| u64::from(queue.message_count()) >= events)
        })
        .await;
        connection.close(200, "counted".into()).await?;
        Ok(())
    }

    /// Kills its processes and removes all that it had, except a database that was full before.
    pub(crate) async fn remove(mut self, stage: &Stage) -> anyhow::Result<()> {
        self.process.kill();
        if let Some(beside) = &mut self.beside {
            beside.kill();
        }
        fs::remove_dir_all(&self.directory).context("cannot remove a subject's directory")?;
        if let Some(vhost) = &self.vhost {
            stage.drop_vhost(vhost).await?;
        }
        if let Some(database) = &self.database {
            stage.drop_database(database).await?;
        }
        Ok(())
    }
}

/// Creates the tables and a key; `callvine keys create` does both.
pub(crate) async fn create_key(stage: &Stage, database: &str) -> String {
    let mut command = Command::new(&stage.callvine);
    command.args(["keys", "create", "--client", "bench"]).env("DATABASE_URL", database);
    run(command).await.trim().to_owned()
}

/// Removes what an earlier run has left to be done in the database.
async fn prepare(stage: &Stage, subject: Subject, database: &str) -> anyhow::Result<()> {
    stage.execute(database, "truncate outbox".to_owned()).await?;
    let name = database.rsplit('/').next().unwrap_or_default();
    let commit = if subject == Subject::GatewayAsync { "off" } else { "on" };
    stage.execute(database, format!("alter database {name} set synchronous_commit = {commit}")).await?;
    stage.checkpoint().await
}
