//! One subject, started afresh: its database, virtual host, process and key; and all of that removed again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use harness::{Process, Signal, Start, eventually, new_directory, run};
use lapin::options::{QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use yardstick::API_KEY;

use crate::ledger::Ledger;
use crate::load::broker::declare_queue;
use crate::php::{self, Php};
use crate::stage::Stage;
use crate::subject::Subject;

/// Start with migrations, on a machine that may be busy.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Far longer than a queue needs to count.
const COUNT_DEADLINE: Duration = Duration::from_secs(30);

/// The queues that events of calls go to.
const QUEUE: &str = "callvine.recordings";
const NAIVE_QUEUE: &str = "naive.recordings";

/// Where the program keeps its SQLite file below its data directory.
const SQLITE_FILE: &str = "callvine.db";

/// A running server that takes calls.
pub(crate) struct Instance {
    process: Process,
    /// Of the webhook.
    pub(crate) url: String,
    /// What calls are sent with.
    pub(crate) key: String,
    /// Where its calls are; `None` for what stores nothing.
    pub(crate) ledger: Option<Ledger>,
    directory: PathBuf,
    database: Option<String>,
    vhost: Option<String>,
    queue: &'static str,
    /// A worker beside a gateway, where recordings are fetched; or the PHP behind nginx.
    beside: Option<Process>,
}

/// What was started of a subject.
struct Started {
    /// What takes the calls.
    process: Process,
    beside: Option<Process>,
    address: String,
}

/// What a subject is given to work with.
struct Means<'a> {
    directory: &'a Path,
    database: Option<&'a str>,
    vhost: Option<&'a str>,
    key: &'a str,
    /// How many recordings are fetched at once, where any are.
    at_once: Option<u32>,
}

impl Instance {
    /// Starts a subject, on a database that is full already or on a new one, and makes sure that a call is answered
    /// as published.
    pub(crate) async fn start(stage: &Stage, subject: Subject, full: Option<&str>) -> anyhow::Result<Self> {
        Self::start_with(stage, subject, full, None).await
    }

    /// Starts a subject on a new database, with a worker that fetches so many recordings at once.
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
        let means = Means {
            directory: &directory,
            database: database.as_deref(),
            vhost: vhost.as_deref(),
            key: &key,
            at_once,
        };
        let Started { process, beside, address } = match subject {
            Subject::Php | Subject::PhpAmqp => start_php(&means).await?,
            _ => start_program(stage, subject, &means).await?,
        };
        let url = format!("{address}/webhook.php");
        let key = if is_naive(subject) { API_KEY.to_owned() } else { key };
        let is_full = full.is_some();
        let database = database.filter(|_| !is_full);
        let queue = match subject {
            Subject::PhpAmqp => php::QUEUE,
            _ if is_naive(subject) => NAIVE_QUEUE,
            _ => QUEUE,
        };
        Ok(Self { process, url, key, ledger, directory, database, vhost, queue, beside })
    }

    /// The process ids of all that it takes to answer a call; each with what is below it.
    pub(crate) fn pids(&self) -> Vec<i32> {
        [&self.process].into_iter().chain(&self.beside).map(|process| process.pid().as_raw_pid()).collect()
    }

    /// The process id of what fetches its recordings.
    pub(crate) fn worker_pid(&self) -> i32 {
        self.beside.as_ref().unwrap_or(&self.process).pid().as_raw_pid()
    }

    /// Fails when it has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        for process in [&mut self.process].into_iter().chain(&mut self.beside) {
            if let Some(status) = process.exited() {
                bail!("it has ended with {status}\n{}", process.account());
            }
        }
        Ok(())
    }

    /// Has it stand still, with what is beside it, until it is [resumed](Self::resume).
    pub(crate) fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Has it go on.
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

    /// Makes sure that the queue has at least so many events, where there is a queue.
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

    /// Kills it and removes what it had, except a database that was full before.
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

fn is_naive(subject: Subject) -> bool {
    matches!(subject, Subject::Naive | Subject::NaiveGuarantee)
}

/// Makes the tables, and a key; the program does both.
pub(crate) async fn create_key(stage: &Stage, database: &str) -> String {
    let mut command = Command::new(&stage.callvine);
    command.args(["keys", "create", "--client", "bench"]).env("DATABASE_URL", database);
    run(command).await.trim().to_owned()
}

/// Leaves nothing to the database that an earlier run has begun.
async fn prepare(stage: &Stage, subject: Subject, database: &str) -> anyhow::Result<()> {
    stage.execute(database, "truncate outbox".to_owned()).await?;
    let name = database.rsplit('/').next().unwrap_or_default();
    let commit = if subject == Subject::GatewayAsync { "off" } else { "on" };
    stage.execute(database, format!("alter database {name} set synchronous_commit = {commit}")).await?;
    stage.checkpoint().await
}

async fn start_php(means: &Means<'_>) -> anyhow::Result<Started> {
    if let Some(vhost) = means.vhost {
        declare_queue(vhost, php::QUEUE).await?;
    }
    let database = means.database.context("PHP needs a database")?;
    let settings = php::Settings { key: means.key, database, broker: means.vhost };
    let Php { nginx, fpm, address } = Php::start(means.directory, &settings).await?;
    Ok(Started { process: nginx, beside: Some(fpm), address })
}

async fn start_program(stage: &Stage, subject: Subject, means: &Means<'_>) -> anyhow::Result<Started> {
    let directory = means.directory;
    let mut command = command(stage, subject, means)?;
    command.env("CALLVINE_DATA_DIR", directory).current_dir(directory);
    if let Some(at_once) = means.at_once {
        let at_once = at_once.to_string();
        command
            .env("CALLVINE_FETCH_ALLOW", "127.0.0.0/8")
            .env("CALLVINE_FETCH_PER_HOST", &at_once)
            .env("CALLVINE_WORKER_CONCURRENCY", &at_once);
    }
    let worker = (subject == Subject::Worker).then(|| worker(stage, &command));
    let (process, address) = listening(directory, command).await?;
    let beside = worker.map(|command| {
        let (stdout, stderr) = (directory.join("worker.stdout"), directory.join("worker.stderr"));
        Process::start(&Start { command, stdout, stderr, last_signal: Signal::KILL })
    });
    Ok(Started { process, beside, address })
}

fn command(stage: &Stage, subject: Subject, means: &Means<'_>) -> anyhow::Result<Command> {
    let database = means.database.unwrap_or_default();
    let dead_broker = stage.dead_broker();
    let broker = means.vhost.unwrap_or(&dead_broker);
    let mut command = match subject {
        Subject::Echo | Subject::Validate | Subject::Naive | Subject::NaiveGuarantee => {
            let is_naive = is_naive(subject);
            Command::new(stage.binaries.join(if is_naive { "naive" } else { "ceiling" }))
        }
        _ => Command::new(&stage.callvine),
    };
    match subject {
        Subject::Echo => command.arg("echo"),
        Subject::Validate => command.arg("validate"),
        Subject::Naive => command.args(["--database-url", database]),
        Subject::NaiveGuarantee => {
            command.args(["--guarantee", "--database-url", database, "--amqp-url", broker])
        }
        Subject::Gateway
        | Subject::GatewayAsync
        | Subject::GatewayConfirmed
        | Subject::GatewayStream
        | Subject::Worker => {
            let stream = if subject == Subject::GatewayStream { "on" } else { "off" };
            command
                .arg("gateway")
                .env("DATABASE_URL", database)
                .env("AMQP_URL", broker)
                .env("CALLVINE_STREAM", stream)
        }
        Subject::Embedded | Subject::EmbeddedWorker => command.arg("up"),

        _ => bail!("{} is no server", subject.title()),
    };
    command
        .env("CALLVINE_LISTEN", "127.0.0.1:0")
        .env("CALLVINE_ADMIN_LISTEN", "127.0.0.1:0")
        .env("RUST_LOG", "warn");
    Ok(command)
}

/// A worker beside the gateway of this command, with its settings.
fn worker(stage: &Stage, gateway: &Command) -> Command {
    let mut command = Command::new(&stage.callvine);
    command.arg("worker").envs(gateway.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Starts a server and waits until it says where it listens.
async fn listening(directory: &Path, command: Command) -> anyhow::Result<(Process, String)> {
    let (stdout, stderr): (PathBuf, PathBuf) = (directory.join("stdout"), directory.join("stderr"));
    let mut process =
        Process::start(&Start { command, stdout: stdout.clone(), stderr, last_signal: Signal::KILL });
    let mut address = None;
    eventually(START_DEADLINE, "the server says where it listens", async || {
        let text = fs::read_to_string(&stdout).unwrap_or_default();
        let mut complete = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        address = complete.find_map(|line| line.strip_prefix("listening public ").map(str::to_owned));
        address.is_some() || process.exited().is_some()
    })
    .await;
    let account = process.account();
    let address = address.with_context(|| format!("the server does not start\n{account}"))?;
    Ok((process, address))
}
