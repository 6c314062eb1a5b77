//! The private servers that runs are made on, and the paths of the binaries that are measured.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use harness::{Fsync, Postgres, RabbitMq, free_port, new_directory};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// The settings of a server of middle size; `fsync`, `full_page_writes` and `synchronous_commit` stay on, as installed.
const POSTGRES_SETTINGS: [&str; 2] = ["shared_buffers=1GB", "max_wal_size=8GB"];

/// The version of oha that is installed where there is none; the format of its report may change with the version.
const OHA_VERSION: &str = "1.16.0";

/// The private servers and the binaries.
pub(crate) struct Stage {
    postgres: Postgres,
    rabbitmq: Option<RabbitMq>,
    /// A port that nothing listens on.
    dead_port: u16,
    /// The directory of the files that the load generators read.
    pub(crate) directory: PathBuf,
    /// The program under test.
    pub(crate) callvine: PathBuf,
    /// The directory of this program and of the yardsticks.
    pub(crate) binaries: PathBuf,
    /// The path of oha, which may not be installed yet.
    pub(crate) oha: PathBuf,
}

impl Stage {
    /// Starts PostgreSQL, and RabbitMQ only where it is needed: an idle broker takes processor time too.
    pub(crate) async fn set(callvine: &Path, needs_broker: bool) -> anyhow::Result<Self> {
        let callvine = callvine.canonicalize().with_context(|| {
            format!("{} is missing: build it, or set CALLVINE_BIN to its path", callvine.display())
        })?;
        let own = std::env::current_exe().context("cannot find out where this program is")?;
        let binaries = own.parent().context("this program has no directory")?.to_owned();
        let target = binaries.parent().context("this program has no target directory")?;
        Ok(Self {
            postgres: Postgres::start_with(Fsync::On, &POSTGRES_SETTINGS).await,
            rabbitmq: if needs_broker { Some(RabbitMq::start().await) } else { None },
            dead_port: free_port(),
            directory: new_directory("load"),
            callvine,
            oha: target.join("tools/bin/oha"),
            binaries,
        })
    }

    /// Whether oha is installed; installs it when `build` says so, which takes minutes.
    pub(crate) async fn has_oha(&self, build: bool) -> anyhow::Result<bool> {
        if self.oha.exists() || !build {
            return Ok(self.oha.exists());
        }
        let root = self.oha.parent().and_then(Path::parent).context("oha has no directory")?;
        let mut command = tokio::process::Command::new("cargo");
        command
            .args(["install", "oha", "--locked", "--version", OHA_VERSION])
            // TLS without a system library; the calls use plain HTTP.
            .args(["--no-default-features", "--features", "rustls", "--root"])
            .arg(root)
            .kill_on_drop(true);
        let status = command.status().await.context("cannot start cargo")?;
        ensure!(status.success(), "cargo cannot install oha: it ended with {status}");
        Ok(true)
    }

    /// Makes an empty database.
    pub(crate) async fn database(&self) -> String {
        self.postgres.database().await
    }

    /// Runs one statement on a database.
    pub(crate) async fn execute(&self, url: &str, statement: String) -> anyhow::Result<u64> {
        let mut connection = PgConnection::connect(url).await.context("cannot connect to PostgreSQL")?;
        let done = sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
        connection.close().await?;
        Ok(done.rows_affected())
    }

    /// Removes a database and closes its connections.
    pub(crate) async fn drop_database(&self, url: &str) -> anyhow::Result<()> {
        let name = url.rsplit('/').next().unwrap_or_default();
        self.execute(&self.postgres.url("postgres"), format!("drop database {name} with (force)")).await?;
        Ok(())
    }

    /// Runs a checkpoint, so that a run does not pay for the writes of the one before.
    pub(crate) async fn checkpoint(&self) -> anyhow::Result<()> {
        self.execute(&self.postgres.url("postgres"), "checkpoint".to_owned()).await?;
        Ok(())
    }

    /// Makes an empty virtual host.
    pub(crate) async fn vhost(&self) -> anyhow::Result<String> {
        Ok(self.broker()?.vhost().await)
    }

    /// Removes a virtual host with all its queues.
    pub(crate) async fn drop_vhost(&self, url: &str) -> anyhow::Result<()> {
        let name = url.rsplit('/').next().unwrap_or_default();
        self.broker()?.ctl(&["delete_vhost", name]).await;
        Ok(())
    }

    /// The address of a broker that does not answer.
    pub(crate) fn dead_broker(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.dead_port)
    }

    /// The id of PostgreSQL's process.
    pub(crate) fn postgres_pid(&self) -> i32 {
        self.postgres.pid().as_raw_pid()
    }

    /// The id of RabbitMQ's process, if it runs.
    pub(crate) fn rabbitmq_pid(&self) -> Option<i32> {
        self.rabbitmq.as_ref().map(|rabbitmq| rabbitmq.pid().as_raw_pid())
    }

    fn broker(&self) -> anyhow::Result<&RabbitMq> {
        self.rabbitmq.as_ref().context("this run needs the broker, and it was not started")
    }
}
