//! A private PostgreSQL: own data directory and port, a database a test; it can be killed and started again.

mod programs;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, kill_process};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

use self::programs::{as_server_user, binaries, hand_over};
use crate::eventually::eventually;
use crate::ports::free_port;
use crate::process::{Process, Signal, Start, new_directory, run};
use crate::procfs::{children, has_ended};
use crate::volume::Volume;

/// Start, recovery after a kill, or stop, on a machine that compiles at the same time.
const DEADLINE: Duration = Duration::from_secs(60);
/// Another process may take the port that was free a moment ago; three times in a row it is something else.
const START_ATTEMPTS: u32 = 3;
/// Databases of one run are used at once, each by several pools.
const MAX_CONNECTIONS: u32 = 400;

/// Whether commits reach the disk. Tests that kill the server, or measure it, need [`Fsync::On`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// As in production.
    On,
    /// Several times faster; a crash of the machine (not of the server) may lose commits.
    Off,
}

/// One private server. Dropping it kills it and removes its data.
pub struct Postgres {
    port: u16,
    fsync: Fsync,
    settings: Vec<String>,
    directory: PathBuf,
    /// Where the data are, instead of in the directory.
    volume: Option<Arc<Volume>>,
    process: Mutex<Option<Process>>,
    databases: AtomicU32,
}

impl Postgres {
    /// The server that the tests of one binary share, without fsync; a test asks it for a [`Postgres::database`] of
    /// its own, and never stops it.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_init(|| Self::start(Fsync::Off)).await
    }

    /// Starts a server of one's own.
    ///
    /// # Panics
    /// When it does not start, with its command line and log.
    pub async fn start(fsync: Fsync) -> Self {
        Self::start_with(fsync, &[]).await
    }

    /// Starts a server of one's own with further settings (`shared_buffers=1GB`), which win over the tests'.
    ///
    /// # Panics
    /// When it does not start, with its command line and log.
    pub async fn start_with(fsync: Fsync, settings: &[&str]) -> Self {
        let mut attempt = 1;
        loop {
            let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
            let server = Self::prepared(fsync, settings);
            server.initialize().await;
            match server.launch().await {
                Ok(()) => return server,
                Err(failure) if attempt == START_ATTEMPTS => panic!("PostgreSQL does not start\n{failure}"),
                Err(_) => attempt += 1,
            }
        }
    }

    /// Starts a server of one's own with its data on this volume, which others can fill up.
    ///
    /// # Panics
    /// When it does not start, with its command line and log.
    pub async fn start_on(volume: &Arc<Volume>, settings: &[&str]) -> Self {
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut server = Self::prepared(Fsync::On, settings);
        server.volume = Some(Arc::clone(volume));
        server.initialize().await;
        match server.launch().await {
            Ok(()) => server,
            Err(failure) => panic!("PostgreSQL does not start\n{failure}"),
        }
    }

    /// Whether it runs: a server may end by itself, without space for instance.
    pub fn is_running(&self) -> bool {
        self.process.lock().as_mut().is_some_and(|process| process.exited().is_none())
    }

    /// A server that follows this one, with every change that this one commits, until it is [promoted](Self::promote).
    /// With `name` in this server's `synchronous_standby_names`, a commit waits for it.
    ///
    /// # Panics
    /// When it does not start, with its command line and log.
    pub async fn standby(&self, name: &str) -> Self {
        let standby = Self::prepared(self.fsync, self.settings.clone());
        hand_over(&standby.directory).await;
        let mut backup = as_server_user(&binaries().join("pg_basebackup"));
        let source = format!("host=127.0.0.1 port={} user=postgres application_name={name}", self.port);
        backup.arg("-d").arg(source).arg("-D").arg(standby.data());
        backup.args(["--write-recovery-conf", "--checkpoint=fast"]);
        run(backup).await;
        match standby.launch().await {
            Ok(()) => standby,
            Err(failure) => panic!("the standby does not start\n{failure}"),
        }
    }

    /// Makes a standby a server that writes.
    ///
    /// # Panics
    /// When it can't be.
    pub async fn promote(&self) {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        let promoting = sqlx::query_scalar("select pg_promote(true, 60)");
        let is_promoted: bool = promoting.fetch_one(&mut connection).await.unwrap();
        assert!(is_promoted, "the standby follows on");
    }

    /// Changes a setting of the running server.
    ///
    /// # Panics
    /// When it can't be changed.
    pub async fn set(&self, name: &str, value: &str) {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        let statement = AssertSqlSafe(format!("alter system set {name} = '{value}'"));
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        sqlx::query("select pg_reload_conf()").execute(&mut connection).await.unwrap();
    }

    /// The address of a new, empty database, as `DATABASE_URL` takes it.
    ///
    /// # Panics
    /// When it cannot be created.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        // template0: nobody is ever connected to it, so databases can be created side by side.
        let statement = format!("create database {name} template template0");
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        self.url(&name)
    }

    /// The address of a database of this server.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Its TCP port on 127.0.0.1, the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the server, the parent of all its backends.
    ///
    /// # Panics
    /// When it isn't running.
    pub fn pid(&self) -> Pid {
        self.process.lock().as_ref().expect("PostgreSQL is running").pid()
    }

    /// `SIGKILL` to the server and all its backends, as a crash of the machine would; returns when they are gone.
    ///
    /// # Panics
    /// When it isn't running, or a process stays.
    pub async fn kill(&self) {
        let mut process = self.process.lock().take().expect("PostgreSQL is running");
        // Backends are leaders of sessions of their own. A stopped server starts no further ones.
        process.signal(Signal::STOP);
        let backends = children(process.pid());
        process.kill();
        for backend in &backends {
            kill_if_alive(*backend);
        }
        eventually(DEADLINE, "the killed backends are gone", async || {
            backends.iter().all(|pid| has_ended(*pid))
        })
        .await;
        // With no process left its lock is stale, but a new process may have got the old number.
        fs::remove_file(self.data().join("postmaster.pid")).unwrap();
    }

    /// Stops it in order, disconnecting its clients; returns when it has ended.
    ///
    /// # Panics
    /// When it isn't running or does not end.
    pub async fn stop(&self) {
        let mut process = self.process.lock().take().expect("PostgreSQL is running");
        process.signal(Signal::INT);
        process.ended(DEADLINE).await;
    }

    /// Starts it again on the same port and data, stopping it before if it runs; returns when it answers.
    ///
    /// # Panics
    /// When it does not start, with its command line and log.
    pub async fn restart(&self) {
        let is_running = self.process.lock().is_some();
        if is_running {
            self.stop().await;
        }
        if let Err(failure) = self.launch().await {
            panic!("PostgreSQL does not start again\n{failure}");
        }
    }

    /// Directory, port and settings; nothing runs yet.
    fn prepared(fsync: Fsync, settings: Vec<String>) -> Self {
        Self {
            port: free_port(),
            fsync,
            settings,
            directory: new_directory("postgres"),
            volume: None,
            process: Mutex::new(None),
            databases: AtomicU32::new(0),
        }
    }

    fn data(&self) -> PathBuf {
        self.volume.as_ref().map_or(self.directory.as_path(), |volume| volume.path()).join("data")
    }

    /// One of PostgreSQL's programs, where it finds the data.
    fn program(&self, name: &str) -> Command {
        let command = as_server_user(&binaries().join(name));
        match &self.volume {
            Some(volume) => volume.inside(&command),
            None => command,
        }
    }

    /// Makes the data directory.
    async fn initialize(&self) {
        hand_over(&self.directory).await;
        let mut initdb = self.program("initdb");
        initdb.arg("-D").arg(self.data());
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        run(initdb).await;
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Starts the process and waits until it accepts connections; `Err` is the account of a server that ended.
    async fn launch(&self) -> Result<(), String> {
        let switch = if self.fsync == Fsync::On { "on" } else { "off" };
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data());
        for setting in [
            format!("port={}", self.port),
            format!("max_connections={MAX_CONNECTIONS}"),
            format!("fsync={switch}"),
            format!("full_page_writes={switch}"),
            format!("synchronous_commit={switch}"),
            "listen_addresses=127.0.0.1".to_owned(),
            // TCP alone: the path of a socket in a temporary directory may be too long.
            "unix_socket_directories=".to_owned(),
            "shared_buffers=64MB".to_owned(),
            "log_line_prefix=%m [%p] ".to_owned(),
        ] {
            command.arg("-c").arg(setting);
        }
        for setting in &self.settings {
            command.arg("-c").arg(setting);
        }
        let mut process = Process::start(&Start {
            command,
            stdout: self.log(),
            stderr: self.log(),
            // Ends its backends too, without a checkpoint.
            last_signal: Signal::QUIT,
        });
        let url = self.url("postgres");
        let mut is_up = false;
        eventually(DEADLINE, "PostgreSQL accepts connections", async || {
            if process.exited().is_some() {
                return true;
            }
            if let Ok(connection) = PgConnection::connect(&url).await {
                is_up = connection.close().await.is_ok();
            }
            is_up
        })
        .await;
        if !is_up || process.exited().is_some() {
            return Err(process.account());
        }
        *self.process.lock() = Some(process);
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(process) = self.process.get_mut().take() {
            let backends = children(process.pid());
            drop(process);
            backends.into_iter().for_each(kill_if_alive);
        }
        // Files that a dying backend still writes are left to the watchdog.
        fs::remove_dir_all(&self.directory).ok();
    }
}

fn kill_if_alive(pid: Pid) {
    match kill_process(pid, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => panic!("cannot kill process {}: {error}", pid.as_raw_pid()),
    }
}
