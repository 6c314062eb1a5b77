//! One process of the program under test, driven as an operator drives it: arguments, environment, output, signals.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use crate::discreet::assert_discreet;
use crate::eventually::obtained;
use crate::process::{Process, Signal, Start, new_directory};
use crate::volume::Volume;

/// Start with migrations on a machine that compiles at the same time.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// The program's own bound for an orderly stop is 30 s (`CALLVINE_SHUTDOWN_TIMEOUT`); the rest is for the machine.
const END_DEADLINE: Duration = Duration::from_secs(60);
/// How the long-running processes log, unless a test says otherwise: all that our own crates can say.
const LOG_FILTER: &str = "info,lapin=off,callvine=trace";
/// The variables that the program inherits from the tests: how to find programs, and where coverage is written.
const PASSED_ON: [&str; 4] = ["PATH", "TMPDIR", "LLVM_PROFILE_FILE", "RUST_BACKTRACE"];

/// A process of the program that is yet to be started.
///
/// Its environment has nothing of the tests' own (no `CALLVINE_*`, `DATABASE_URL`, `AMQP_URL`); both listeners are on
/// free ports, and its working directory is new and empty, unless told otherwise.
pub struct Callvine {
    arguments: Vec<OsString>,
    environment: Vec<(String, OsString)>,
    directory: Option<PathBuf>,
    volume: Option<Arc<Volume>>,
    open_files: Option<u32>,
}

impl Callvine {
    /// `callvine COMMAND`.
    pub fn new(command: &str) -> Self {
        Self {
            arguments: vec![command.into()],
            environment: Vec::new(),
            directory: None,
            volume: None,
            open_files: None,
        }
        .env("CALLVINE_LISTEN", "127.0.0.1:0")
        .env("CALLVINE_ADMIN_LISTEN", "127.0.0.1:0")
        // Most tests are about the way to the queue of analyses, and look into it.
        .env("CALLVINE_ANALYSIS", "off")
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().into()));
        self
    }

    /// Sets a variable of its environment; the last of one name counts.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.to_owned(), value.as_ref().into()));
        self
    }

    /// Runs it in this directory, where an earlier process has left its data, instead of a new one.
    #[must_use]
    pub fn directory(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// Runs it where this volume is to be seen. It has no working directory of its own then: name what it writes to.
    #[must_use]
    pub fn inside(mut self, volume: &Arc<Volume>) -> Self {
        self.volume = Some(Arc::clone(volume));
        self
    }

    /// Lets it have no more than so many open files, unless it asks for more.
    #[must_use]
    pub fn open_files(mut self, limit: u32) -> Self {
        self.open_files = Some(limit);
        self
    }

    /// Starts the process without waiting for anything.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn spawn(self) -> Running {
        // One process' output is never mixed with another's, though they share a working directory.
        let output = new_directory("callvine");
        let directory = self.directory.unwrap_or_else(|| output.join("work"));
        fs::create_dir_all(&directory).unwrap();
        let mut command = match self.open_files {
            None => Command::new(program()),
            Some(limit) => {
                let mut limited = Command::new("sh");
                limited.arg("-c").arg(format!(r#"ulimit -Sn {limit} && exec "$@""#)).arg("limited");
                limited.arg(program());
                limited
            }
        };
        command.args(&self.arguments).current_dir(&directory).env("HOME", &directory);
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.environment);
        if let Some(volume) = &self.volume {
            command = volume.inside(&command);
        }
        let (stdout, stderr) = (output.join("stdout"), output.join("stderr"));
        let start =
            Start { command, stdout: stdout.clone(), stderr: stderr.clone(), last_signal: Signal::KILL };
        Running { process: Process::start(&start), stdout, stderr, directory }
    }

    /// Starts a process with a public listener (`up`, `gateway`, `demo`) and waits until it listens, on the admin
    /// listener too unless that is `off`.
    ///
    /// # Panics
    /// When it ends, or does not listen in time.
    pub async fn start(self) -> Running {
        let has_admin = self.has_admin();
        let mut running = self.logging_all().spawn();
        running.public().await;
        if has_admin {
            running.admin().await;
        }
        running
    }

    /// Starts a process that has an admin listener alone (`worker`, `analyzer`) and waits until that listens.
    ///
    /// # Panics
    /// When it ends, or does not listen in time.
    pub async fn start_worker(self) -> Running {
        let mut running = self.logging_all().spawn();
        running.admin().await;
        running
    }

    /// The filter goes first, so that a test's own wins.
    fn logging_all(mut self) -> Self {
        self.environment.insert(0, ("RUST_LOG".to_owned(), LOG_FILTER.into()));
        self
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it does not end within a minute.
    pub async fn run(self) -> Finished {
        self.spawn().wait().await
    }

    fn has_admin(&self) -> bool {
        let value = self.environment.iter().rev().find(|(name, _)| name == "CALLVINE_ADMIN_LISTEN");
        value.is_none_or(|(_, value)| value != "off")
    }
}

/// A process of the program that was started. Dropping it kills it.
pub struct Running {
    process: Process,
    stdout: PathBuf,
    stderr: PathBuf,
    directory: PathBuf,
}

impl Running {
    /// The address of the public listener, as the start-up line says: `http://127.0.0.1:8080`, or `https://…`.
    ///
    /// # Panics
    /// When the process ends, or does not say so in time.
    pub async fn public(&mut self) -> String {
        self.listening("public").await
    }

    /// The address of the admin listener, as the start-up line says.
    ///
    /// # Panics
    /// When the process ends, or does not say so in time.
    pub async fn admin(&mut self) -> String {
        self.listening("admin").await
    }

    /// The socket address of the public listener, for a proxy in front of it, or a restart on the same port.
    ///
    /// # Panics
    /// When the process ends, or does not say so in time.
    pub async fn public_socket(&mut self) -> SocketAddr {
        let address = self.public().await;
        let (_scheme, socket) = address.split_once("://").unwrap();
        socket.parse().unwrap()
    }

    /// The process id.
    pub fn pid(&self) -> rustix::process::Pid {
        self.process.pid()
    }

    /// Its working directory, which holds `callvine-data` unless told otherwise.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// `SIGKILL`, as a crash would; returns when the process is gone.
    ///
    /// # Panics
    /// When it has ended before.
    pub fn kill(mut self) -> Finished {
        self.assert_running();
        let status = self.process.kill();
        self.finished(status)
    }

    /// `SIGTERM`, and waits for the end; the caller judges the exit code.
    ///
    /// # Panics
    /// When it has ended before, or does not end within a minute.
    pub async fn stop(mut self) -> Finished {
        self.assert_running();
        self.signal(Signal::TERM);
        self.wait().await
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it does not end within a minute.
    pub async fn wait(mut self) -> Finished {
        let status = self.process.ended(END_DEADLINE).await;
        self.finished(status)
    }

    /// Fails the test unless the process still runs.
    ///
    /// # Panics
    /// When it has ended.
    pub fn assert_running(&mut self) {
        if let Some(status) = self.process.exited() {
            panic!("the program has ended with {status}\n{}", self.process.account());
        }
    }

    /// Its standard output so far.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// Its standard error, which is its log, so far.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    async fn listening(&mut self, listener: &str) -> String {
        let start = format!("listening {listener} ");
        let what = format!("the program prints `{start}…`");
        obtained(START_DEADLINE, &what, async || {
            // A line without its end may still be growing.
            let text = self.stdout();
            let complete = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            let address = complete.filter_map(|line| line.strip_prefix(&start)).next().map(str::to_owned);
            if address.is_none() {
                self.assert_running();
            }
            address
        })
        .await
    }

    fn finished(&self, status: ExitStatus) -> Finished {
        Finished { status, stdout: self.stdout(), stderr: self.stderr() }
    }
}

/// However a process ends, its log has nothing of the calls.
impl Drop for Running {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_discreet(&self.stderr);
        }
    }
}

/// A process of the program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error, its log.
    pub stderr: String,
}

impl Finished {
    /// The exit code; `None` after a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Fails the test unless the exit code is this one, showing what the program wrote.
    ///
    /// # Panics
    /// When it is another.
    #[track_caller]
    pub fn assert_code(&self, code: i32) {
        let Self { status, stdout, stderr } = self;
        assert_eq!(self.code(), Some(code), "ended with {status}\nstdout:\n{stdout}\nstderr:\n{stderr}");
    }
}

/// The program: what `CALLVINE_BIN` names (a release build, say), else the one that Cargo has just built with the
/// tests, which lies beside the directory of the running test.
fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("CALLVINE_BIN") {
        return fs::canonicalize(&path)
            .unwrap_or_else(|error| panic!("CALLVINE_BIN={}: {error}", path.display()));
    }
    let test = std::env::current_exe().unwrap();
    let built = test.parent().and_then(Path::parent).unwrap().join("callvine-under-test");
    assert!(built.exists(), "{} is missing: run the tests with `cargo test`", built.display());
    built
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}
