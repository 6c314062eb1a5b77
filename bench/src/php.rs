//! The PHP yardstick: `bench/php/webhook.php` in php-fpm, behind nginx.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, anyhow};
use harness::{Process, free_port};
use lapin::uri::AMQPUri;
use sqlx::postgres::PgConnectOptions;
use tokio::net::{TcpStream, UnixStream};

use crate::server;

const SCRIPT: &str = include_str!("../php/webhook.php");
const NGINX: &str = include_str!("../php/nginx.conf");
const FPM: &str = include_str!("../php/php-fpm.conf");

/// The queue that events are published to.
pub(crate) const QUEUE: &str = "php.recordings";

/// The settings of the script.
pub(crate) struct Settings<'a> {
    pub(crate) key: &'a str,
    pub(crate) database: &'a str,
    /// The broker that events are published to; `None` for no events.
    pub(crate) broker: Option<&'a str>,
}

/// Both servers, running.
pub(crate) struct Php {
    pub(crate) nginx: Process,
    pub(crate) fpm: Process,
    /// The address of nginx.
    pub(crate) address: String,
}

impl Php {
    /// Starts both servers, with all their files in this directory.
    pub(crate) async fn start(directory: &Path, settings: &Settings<'_>) -> anyhow::Result<Self> {
        let port = free_port();
        fs::write(directory.join("webhook.php"), SCRIPT)?;
        fs::write(directory.join("nginx.conf"), NGINX.replace("@PORT@", &port.to_string()))?;
        fs::write(directory.join("php-fpm.conf"), FPM)?;

        let mut command = Command::new(server::php_fpm()?);
        command.arg("--nodaemonize").arg("--allow-to-run-as-root").arg("--prefix").arg(directory);
        command.arg("--fpm-config").arg(directory.join("php-fpm.conf"));
        configure(&mut command, settings)?;
        let socket = directory.join("php-fpm.sock");
        let fpm = server::start(command, (directory, "php-fpm"), async || {
            UnixStream::connect(&socket).await.is_ok()
        });
        let fpm = fpm.await?;

        let mut command = Command::new(server::NGINX);
        command.arg("-p").arg(directory).arg("-c").arg(directory.join("nginx.conf"));
        command.arg("-e").arg(directory.join("nginx.log"));
        let listens = async || TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        let nginx = server::start(command, (directory, "nginx"), listens).await?;
        Ok(Self { nginx, fpm, address: format!("http://127.0.0.1:{port}") })
    }
}

fn configure(command: &mut Command, settings: &Settings<'_>) -> anyhow::Result<()> {
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
