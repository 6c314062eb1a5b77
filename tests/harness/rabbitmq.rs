//! A private RabbitMQ: own node, ports and data directory, a virtual host a test; it can be killed and started again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::Pid;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use crate::eventually::eventually;
use crate::ports::free_port;
use crate::process::{Process, Signal, Start, new_directory, run};

/// Start, recovery after a kill, or stop: seconds on an idle machine, many more while it compiles.
const DEADLINE: Duration = Duration::from_secs(120);
/// Another process may take a port that was free a moment ago; three times in a row it is something else.
const START_ATTEMPTS: u32 = 3;
/// The scripts themselves: the ones on the search path change the user to `rabbitmq` and drop the environment.
const BINARIES: &str = "/usr/lib/rabbitmq/bin";
/// The secret that `rabbitmqctl` and the node share, in a file that only its owner can read.
const COOKIE: &str = "callvine-tests";

/// One private server. Dropping it kills it and removes its data.
pub struct RabbitMq {
    directory: PathBuf,
    amqp_port: u16,
    distribution_port: u16,
    epmd_port: u16,
    /// The Erlang port mapper; without one of our own, the node would start a daemon that outlives the tests.
    epmd: Mutex<Option<Process>>,
    node: Mutex<Option<Process>>,
    vhosts: AtomicU32,
}

impl RabbitMq {
    /// The server that the tests of one binary share; a test asks it for a [`RabbitMq::vhost`] of its own, and never
    /// stops it.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<RabbitMq> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// Starts a server of one's own.
    ///
    /// # Panics
    /// When it does not start, with its command line and log.
    pub async fn start() -> Self {
        assert!(
            Path::new(BINARIES).join("rabbitmq-server").exists(),
            "RabbitMQ is not installed: run tests/setup.sh"
        );
        let mut attempt = 1;
        loop {
            let server = Self::prepared();
            match server.launch().await {
                Ok(()) => return server,
                Err(failure) if attempt == START_ATTEMPTS => panic!("RabbitMQ does not start\n{failure}"),
                Err(_) => attempt += 1,
            }
        }
    }

    /// The address of a new, empty virtual host, as `AMQP_URL` takes it.
    ///
    /// # Panics
    /// When it cannot be created.
    pub async fn vhost(&self) -> String {
        let name = format!("test_{}", self.vhosts.fetch_add(1, Ordering::Relaxed));
        // One command instead of `add_vhost` and `set_permissions`: each of them starts an Erlang of its own.
        let definitions = self.directory.join(format!("{name}.json"));
        let permission = serde_json::json!(
            {"user": "guest", "vhost": name, "configure": ".*", "write": ".*", "read": ".*"}
        );
        let text = serde_json::json!({"vhosts": [{"name": name}], "permissions": [permission]}).to_string();
        fs::write(&definitions, text).unwrap();
        self.ctl(&["import_definitions", definitions.to_str().unwrap()]).await;
        self.url(&name)
    }

    /// The address of a virtual host of this server; `%2f` is the one that always exists.
    pub fn url(&self, vhost: &str) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/{vhost}", self.amqp_port)
    }

    /// Its AMQP port on 127.0.0.1, the same over restarts.
    pub fn port(&self) -> u16 {
        self.amqp_port
    }

    /// The process id of the node.
    ///
    /// # Panics
    /// When it isn't running.
    pub fn pid(&self) -> Pid {
        self.node.lock().as_ref().expect("RabbitMQ is running").pid()
    }

    /// Runs `rabbitmqctl` with these arguments (about 0.6 s) and returns its output.
    ///
    /// # Panics
    /// When it fails, with its output.
    pub async fn ctl(&self, arguments: &[&str]) -> String {
        let mut command = self.script("rabbitmqctl");
        command.args(["--quiet", "--node", &self.node_name()]).args(arguments);
        run(command).await
    }

    /// `SIGKILL` to the node; returns when it is gone.
    ///
    /// Before that, the tables that RabbitMQ writes only every half second reach the disk: older releases (3.10) keep
    /// the names of quorum queues in one (rabbitmq/ra#443), and a queue declared just before the kill would come back
    /// empty and without a leader. Messages are not concerned: what was confirmed is on the disk, or RabbitMQ lied.
    ///
    /// # Panics
    /// When it isn't running.
    pub async fn kill(&self) {
        self.ctl(&["eval", "[dets:sync(Table) || Table <- dets:all()]."]).await;
        let mut node = self.node.lock().take().expect("RabbitMQ is running");
        node.kill();
        node.group_gone().await;
    }

    /// Stops it in order; returns when it has ended.
    ///
    /// # Panics
    /// When it isn't running or does not end.
    pub async fn stop(&self) {
        let mut node = self.node.lock().take().expect("RabbitMQ is running");
        node.signal(Signal::TERM);
        node.ended(DEADLINE).await;
        node.group_gone().await;
    }

    /// Starts it again on the same ports and data, stopping it before if it runs; returns when it accepts connections.
    ///
    /// # Panics
    /// When it does not start, with its command line and log.
    pub async fn restart(&self) {
        let is_running = self.node.lock().is_some();
        if is_running {
            self.stop().await;
        }
        if let Err(failure) = self.launch().await {
            panic!("RabbitMQ does not start again\n{failure}");
        }
    }

    /// Directory, ports, configuration and cookie; nothing runs yet.
    fn prepared() -> Self {
        let server = Self {
            directory: new_directory("rabbitmq"),
            amqp_port: free_port(),
            distribution_port: free_port(),
            epmd_port: free_port(),
            epmd: Mutex::new(None),
            node: Mutex::new(None),
            vhosts: AtomicU32::new(0),
        };
        let configuration = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\nloopback_users = none\n\
             # A quorum queue's log on a nearly full disk of a test machine must not block the publishers.\n\
             disk_free_limit.absolute = 50MB\n",
            server.amqp_port
        );
        fs::write(server.directory.join("rabbitmq.conf"), configuration).unwrap();
        fs::write(server.directory.join("enabled_plugins"), "[].\n").unwrap();
        let cookie = server.directory.join(".erlang.cookie");
        fs::write(&cookie, COOKIE).unwrap();
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400)).unwrap();
        server
    }

    fn node_name(&self) -> String {
        format!("callvine{}@localhost", self.amqp_port)
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Starts port mapper and node, and waits until the node accepts connections; `Err` is the account of a node that
    /// ended.
    async fn launch(&self) -> Result<(), String> {
        self.launch_epmd();
        let mut command = self.script("rabbitmq-server");
        // Makes the script become the node instead of its parent, so that signals and exit status are the node's.
        command.env("detached", "true");
        let mut node = Process::start(&Start {
            command,
            stdout: self.log(),
            stderr: self.log(),
            last_signal: Signal::KILL,
        });
        // The listeners open last: who can connect can use it.
        let mut is_up = false;
        eventually(DEADLINE, "RabbitMQ accepts connections", async || {
            is_up = TcpStream::connect(("127.0.0.1", self.amqp_port)).await.is_ok();
            is_up || node.exited().is_some()
        })
        .await;
        // Somebody else's listener on our port answers too: then the node ends by itself.
        if !is_up || node.exited().is_some() {
            return Err(node.account());
        }
        *self.node.lock() = Some(node);
        Ok(())
    }

    fn launch_epmd(&self) {
        let mut epmd = self.epmd.lock();
        if epmd.is_some() {
            return;
        }
        let mut command = Command::new("epmd");
        command.args(["-port", &self.epmd_port.to_string(), "-address", "127.0.0.1"]).env("PATH", PATH);
        let log = self.directory.join("epmd.log");
        *epmd = Some(Process::start(&Start {
            command,
            stdout: log.clone(),
            stderr: log,
            last_signal: Signal::KILL,
        }));
    }

    /// One of RabbitMQ's scripts with the whole environment that keeps it to this directory.
    fn script(&self, name: &str) -> Command {
        let inside = |name: &str| self.directory.join(name);
        let mut command = Command::new(Path::new(BINARIES).join(name));
        command.current_dir(&self.directory);
        for (variable, value) in [
            ("PATH", PathBuf::from(PATH)),
            ("LANG", PathBuf::from("C.UTF-8")),
            ("HOME", self.directory.clone()),
            ("RABBITMQ_NODENAME", PathBuf::from(self.node_name())),
            ("RABBITMQ_CONFIG_FILE", inside("rabbitmq.conf")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", inside("advanced.config")),
            ("RABBITMQ_CONF_ENV_FILE", PathBuf::from("/dev/null")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", inside("enabled_plugins")),
            ("RABBITMQ_MNESIA_BASE", inside("data")),
            ("RABBITMQ_LOG_BASE", self.directory.clone()),
            ("RABBITMQ_LOGS", PathBuf::from("-")),
            ("RABBITMQ_PID_FILE", inside("pid")),
            ("RABBITMQ_DIST_PORT", PathBuf::from(self.distribution_port.to_string())),
            ("ERL_EPMD_PORT", PathBuf::from(self.epmd_port.to_string())),
            ("ERL_EPMD_ADDRESS", PathBuf::from("127.0.0.1")),
            ("ERL_CRASH_DUMP", PathBuf::from("/dev/null")),
        ] {
            command.env(variable, value);
        }
        command
    }
}

/// Where Erlang and the tools of RabbitMQ's scripts are.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

impl Drop for RabbitMq {
    fn drop(&mut self) {
        drop(self.node.get_mut().take());
        drop(self.epmd.get_mut().take());
        // Files that a dying node still writes are left to the watchdog.
        fs::remove_dir_all(&self.directory).ok();
    }
}
