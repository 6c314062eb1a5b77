//! Child processes that never outlive the test process, however that ends, and the directory they keep their files in.
//!
//! A watchdog (a small shell script) holds the reading end of a pipe whose writing end only the test process has. The
//! kernel closes it when the test process ends, also by `SIGKILL`; the watchdog then kills what is registered and
//! removes the directory. A child is registered before it runs its program: it starts as a shell that waits for a line
//! on its own pipe, and ends without having run anything when that line never comes.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub use rustix::process::Signal;
use rustix::process::{
    Pid, Resource, Rlimit, getrlimit, kill_process, kill_process_group, setrlimit, test_kill_process_group,
};

use crate::eventually::eventually;
use crate::procfs::only_zombies;

/// Lines of a log that a failure shows: enough for a server's last words and the reason before them.
const LOG_TAIL_LINES: usize = 40;
/// How long a killed process may remain visible: the kernel tears down its memory first, on a busy machine slowly.
const GONE_DEADLINE: Duration = Duration::from_secs(20);

/// Kills what is registered, the last started first, waits up to 3 s for it to end, then uses force, then removes the
/// directory. (A node that finds its port mapper gone would start another one.)
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
while read -r line; do :; done
cd "$1/processes" || exit 1
for file in $(ls -r); do
    kill -s "$(cat "$file")" -- "-${file#*-}"
done
tries=30
for file in $(ls -r); do
    while [ "$tries" -gt 0 ] && kill -s 0 -- "-${file#*-}"; do tries=$((tries - 1)); sleep 0.1; done
    kill -s KILL -- "-${file#*-}"
done
cd /
rm -rf "$1" || rm -rf "$1"
"#;

/// Waits for the line that says it is registered, then becomes the program.
const GATE: &str = r#"read -r line && exec "$@" </dev/null"#;

/// The directory of this test process, with its watchdog; lives as long as the process.
struct Home {
    directory: PathBuf,
    /// Holds the writing end of the watchdog's pipe; closed by the kernel when this process ends.
    _watchdog: Child,
}

fn home() -> &'static Home {
    static HOME: OnceLock<Home> = OnceLock::new();
    HOME.get_or_init(|| {
        let directory = tempfile::Builder::new()
            .prefix("callvine-tests-")
            .tempdir()
            .expect("a temporary directory")
            .keep();
        // PostgreSQL runs as another user when the tests run as root, and has to get at its own directory in here.
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(directory.join("processes")).unwrap();
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(&directory)
            // Out of the terminal's foreground group: Ctrl-C must reach the tests, not their watchdog.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        Home { directory, _watchdog: watchdog }
    })
}

/// A new, empty directory of the given name (made unique), traversable by everybody. It is removed with the test
/// process at the latest.
pub fn new_directory(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let directory = home().directory.join(format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// How a child is started.
pub struct Start {
    /// The program and its arguments; its environment is exactly the pairs given to [`Command::env`].
    pub command: Command,
    /// Where its standard output goes.
    pub stdout: PathBuf,
    /// Where its standard error goes; may be the same file.
    pub stderr: PathBuf,
    /// The signal that the watchdog sends to the child's process group when the tests are gone.
    pub last_signal: Signal,
}

/// A child process, the leader of its own process group. Dropping it kills the group; when the test is failing, that
/// shows the command line and the end of the log.
pub struct Process {
    child: Child,
    command_line: String,
    stderr: PathBuf,
    registration: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts the program, under the watchdog's eyes. Its standard input is empty.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(start: &Start) -> Self {
        let command_line = command_line(&start.command);
        let mut gate = Command::new("sh");
        gate.args(["-c", GATE, "gate"]).arg(start.command.get_program()).args(start.command.get_args());
        gate.env_clear();
        for (name, value) in start.command.get_envs() {
            if let Some(value) = value {
                gate.env(name, value);
            }
        }
        if let Some(directory) = start.command.get_current_dir() {
            gate.current_dir(directory);
        }
        let mut child = gate
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(appending(&start.stdout))
            .stderr(appending(&start.stderr))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command_line}: {error}"));
        let registration = registration_of(&child);
        fs::write(&registration, signal_name(start.last_signal)).unwrap();
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        Self { child, command_line, stderr: start.stderr.clone(), registration, status: None }
    }

    /// The process id, which is also its group's.
    ///
    /// # Panics
    /// Never: a process id is positive.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal to the process alone; a process that has ended is left alone.
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn signal(&mut self, signal: Signal) {
        if self.exited().is_none() {
            kill_process(self.pid(), signal).unwrap();
        }
    }

    /// Its exit status once it has ended.
    ///
    /// # Panics
    /// When the process cannot be waited for.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().unwrap();
        }
        self.status
    }

    /// `SIGKILL` to the whole process group, and waits until the process itself is gone.
    ///
    /// # Panics
    /// When the process cannot be killed.
    pub fn kill(&mut self) -> ExitStatus {
        if self.exited().is_none() {
            kill_process_group(self.pid(), Signal::KILL).unwrap();
            self.status = Some(self.child.wait().unwrap());
        }
        self.status.unwrap()
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When that takes longer than `deadline`.
    pub async fn ended(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("{} ends", self.command_line);
        eventually(deadline, &what, async || self.exited().is_some()).await;
        self.status.unwrap()
    }

    /// Waits until its process group has no member left, so that ports and files are free.
    ///
    /// # Panics
    /// When a member stays.
    pub async fn group_gone(&self) {
        let what = format!("the process group of {} is gone", self.command_line);
        let group = self.pid();
        eventually(GONE_DEADLINE, &what, async || {
            test_kill_process_group(group).is_err() || only_zombies(group)
        })
        .await;
    }

    /// The command line and the end of the standard error, for a failure's message.
    pub fn account(&self) -> String {
        account(&self.command_line, &self.stderr)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "Rust's test runner shows it with the failed test")]
            {
                eprintln!("{}", self.account());
            }
        }
        self.kill();
        fs::remove_file(&self.registration).ok();
    }
}

/// The file that tells the watchdog of a child: its name sorts by the order of starting, and ends in the process id.
fn registration_of(child: &Child) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    home().directory.join("processes").join(format!("{number:09}-{}", child.id()))
}

/// Runs a short command to its end and returns its standard output.
///
/// # Panics
/// When it fails, with its command line and output.
pub async fn run(command: Command) -> String {
    let command_line = command_line(&command);
    let output = tokio::process::Command::from(command)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("cannot start {command_line}: {error}"));
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command_line}\nended with {}:\n{stdout}{stderr}", output.status);
    stdout.into_owned()
}

/// Lets this process have as many files and connections open as the system allows it.
///
/// # Panics
/// When the system doesn't.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

/// A command as one could type it, with the environment that was given to it.
pub(crate) fn command_line(command: &Command) -> String {
    let mut line = String::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            write!(line, "{}={:?} ", name.display(), value).unwrap();
        }
    }
    write!(line, "{}", command.get_program().display()).unwrap();
    for argument in command.get_args() {
        write!(line, " {argument:?}").unwrap();
    }
    line
}

/// A command line and the last lines of its log.
pub(crate) fn account(command_line: &str, log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines.len().saturating_sub(LOG_TAIL_LINES);
    let shown = lines.iter().skip(tail).fold(String::new(), |shown, line| shown + "\n  | " + line);
    format!("command: {command_line}\nthe end of {}:{shown}", log.display())
}

fn appending(path: &Path) -> File {
    File::options().create(true).append(true).open(path).unwrap()
}

fn signal_name(signal: Signal) -> &'static str {
    match signal {
        Signal::KILL => "KILL",
        Signal::QUIT => "QUIT",
        Signal::TERM => "TERM",
        other => panic!("the watchdog has no name for signal {}", other.as_raw()),
    }
}
