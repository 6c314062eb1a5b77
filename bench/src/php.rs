//! The PHP yardstick: `bench/php/webhook.php` in php-fpm, behind nginx.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use harness::{Process, Signal, Start, eventually, free_port};
use lapin::uri::AMQPUri;
use sqlx::postgres::PgConnectOptions;
use tokio::net::{TcpStream, UnixStream};

const SCRIPT: &str = include_str!("../php/webhook.php");
const NGINX: &str = include_str!("../php/nginx.conf");
const FPM: &str = include_str!("../php/php-fpm.conf");

/// Where Debian has both; an ordinary user's search path lacks it.
const PROGRAMS: &str = "/usr/sbin";

/// Both start in a tenth of a second.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// The queue that events go to.
pub(crate) const QUEUE: &str = "php.recordings";

/// What the script is told.
pub(crate) struct Settings<'a> {
    pub(crate) key: &'a str,
    pub(crate) database: &'a str,
    /// Where events are published.
    pub(crate) broker: Option<&'a str>,
}

/// Both servers, running.
pub(crate) struct Php {
    pub(crate) nginx: Process,
    pub(crate) fpm: Process,
    /// Of nginx.
    pub(crate) address: String,
}

impl Php {
    /// Starts both below this directory.
    pub(crate) async fn start(directory: &Path, settings: &Settings<'_>) -> anyhow::Result<Self> {
        let port = free_port();
        fs::write(directory.join("webhook.php"), SCRIPT)?;
        fs::write(directory.join("nginx.conf"), NGINX.replace("@PORT@", &port.to_string()))?;
        fs::write(directory.join("php-fpm.conf"), FPM)?;

        let mut command = Command::new(fpm_program()?);
        command.arg("--nodaemonize").arg("--allow-to-run-as-root").arg("--prefix").arg(directory);
        command.arg("--fpm-config").arg(directory.join("php-fpm.conf"));
        tell(&mut command, settings)?;
        let socket = directory.join("php-fpm.sock");
        let fpm =
            started(command, (directory, "php-fpm"), async || UnixStream::connect(&socket).await.is_ok());
        let fpm = fpm.await?;

        let mut command = Command::new(Path::new(PROGRAMS).join("nginx"));
        command.arg("-p").arg(directory).arg("-c").arg(directory.join("nginx.conf"));
        command.arg("-e").arg(directory.join("nginx.log"));
        let listens = async || TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        let nginx = started(command, (directory, "nginx"), listens).await?;
        Ok(Self { nginx, fpm, address: format!("http://127.0.0.1:{port}") })
    }
}

/// Where php-fpm is, whose name has its version.
pub(crate) fn fpm_program() -> anyhow::Result<PathBuf> {
    let entries = fs::read_dir(PROGRAMS).with_context(|| format!("cannot look into {PROGRAMS}"))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let is_fpm = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("php-fpm"))
    };
    // Several versions may be installed: `php-fpm8.2`, `php-fpm8.4`.
    paths.filter(is_fpm).max().context("php-fpm is not installed: run tests/setup.sh")
}

fn tell(command: &mut Command, settings: &Settings<'_>) -> anyhow::Result<()> {
    let database: PgConnectOptions = settings.database.parse()?;
    let name = database.get_database().context("a database without a name")?;
    let (host, port, user) = (database.get_host(), database.get_port(), database.get_username());
    command
        .env("API_KEY", settings.key)
        .env("DATABASE_DSN", format!("pgsql:host={host};port={port};dbname={name};user={user}"));
    if let Some(broker) = settings.broker {
        let broker: AMQPUri = broker.parse().map_err(|error| anyhow!("not an AMQP address: {error}"))?;
        command
            .env("AMQP_PORT", broker.authority.port.to_string())
            .env("AMQP_VHOST", broker.vhost)
            .env("AMQP_QUEUE", QUEUE);
    }
    Ok(())
}

/// Starts a server in this directory, with its output in files of this name, and waits until it listens.
async fn started(
    mut command: Command,
    (directory, name): (&Path, &str),
    mut listens: impl AsyncFnMut() -> bool,
) -> anyhow::Result<Process> {
    command.current_dir(directory);
    let (stdout, stderr) = (directory.join(format!("{name}.out")), directory.join(format!("{name}.log")));
    let mut process = Process::start(&Start { command, stdout, stderr, last_signal: Signal::KILL });
    let what = format!("{name} listens");
    eventually(START_DEADLINE, &what, async || process.exited().is_some() || listens().await).await;
    ensure!(process.exited().is_none(), "{name} does not start\n{}", process.account());
    Ok(process)
}
