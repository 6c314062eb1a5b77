//! Starts the processes of a subject, each with its command line and its environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use harness::{Process, Signal, Start, eventually};

use crate::load::broker::declare_queue;
use crate::php::{self, Php};
use crate::stage::Stage;
use crate::subject::Subject;

/// Limit for a start with its migrations, on a machine that may be busy.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// The processes of a subject.
pub(crate) struct Started {
    /// The process that takes the calls.
    pub(crate) process: Process,
    /// The worker beside a gateway, or php-fpm behind nginx.
    pub(crate) beside: Option<Process>,
    /// The public listener's address.
    pub(crate) address: String,
}

/// The directory, servers and key that a subject is given.
pub(crate) struct Resources<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) database: Option<&'a str>,
    pub(crate) vhost: Option<&'a str>,
    pub(crate) key: &'a str,
    /// Recordings fetched at once; `None` when none are fetched.
    pub(crate) at_once: Option<u32>,
}

/// Starts a subject and waits until it listens.
pub(crate) async fn start(
    stage: &Stage,
    subject: Subject,
    resources: &Resources<'_>,
) -> anyhow::Result<Started> {
    match subject {
        Subject::Php | Subject::PhpAmqp => start_php(resources).await,
        _ => start_program(stage, subject, resources).await,
    }
}

async fn start_php(resources: &Resources<'_>) -> anyhow::Result<Started> {
    if let Some(vhost) = resources.vhost {
        declare_queue(vhost, php::QUEUE).await?;
    }
    let database = resources.database.context("PHP needs a database")?;
    let settings = php::Settings { key: resources.key, database, broker: resources.vhost };
    let Php { nginx, fpm, address } = Php::start(resources.directory, &settings).await?;
    Ok(Started { process: nginx, beside: Some(fpm), address })
}

async fn start_program(
    stage: &Stage,
    subject: Subject,
    resources: &Resources<'_>,
) -> anyhow::Result<Started> {
    let directory = resources.directory;
    let mut command = command(stage, subject, resources)?;
    command.env("CALLVINE_DATA_DIR", directory).current_dir(directory);
    if let Some(at_once) = resources.at_once {
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

fn command(stage: &Stage, subject: Subject, resources: &Resources<'_>) -> anyhow::Result<Command> {
    let database = resources.database.unwrap_or_default();
    let dead_broker = stage.dead_broker();
    let broker = resources.vhost.unwrap_or(&dead_broker);
    let mut command = match subject {
        Subject::Echo | Subject::Validate | Subject::Naive | Subject::NaiveGuarantee => {
            Command::new(stage.binaries.join(if subject.is_naive() { "naive" } else { "ceiling" }))
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
        _ => bail!("{} takes no calls", subject.title()),
    };
    command
        .env("CALLVINE_LISTEN", "127.0.0.1:0")
        .env("CALLVINE_ADMIN_LISTEN", "127.0.0.1:0")
        .env("RUST_LOG", "warn");
    Ok(command)
}

/// The command of a worker with the settings of this gateway.
fn worker(stage: &Stage, gateway: &Command) -> Command {
    let mut command = Command::new(&stage.callvine);
    command.arg("worker").envs(gateway.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Starts a server and waits until it prints its address.
async fn listening(directory: &Path, command: Command) -> anyhow::Result<(Process, String)> {
    let (stdout, stderr): (PathBuf, PathBuf) = (directory.join("stdout"), directory.join("stderr"));
    let mut process =
        Process::start(&Start { command, stdout: stdout.clone(), stderr, last_signal: Signal::KILL });
    let mut address = None;
    eventually(START_DEADLINE, "the server prints its address", async || {
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
