//! A small file system that can be filled up. Only processes started inside see it, and it ends with the last of them:
//! it is mounted in a name space of its own, by a process that does nothing else.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::eventually::eventually;
use crate::process::{Process, Signal, Start, new_directory};

/// Mounting takes milliseconds.
const DEADLINE: Duration = Duration::from_secs(20);
/// The file that takes the space.
const BALLAST: &str = "ballast";
/// Written at a time while filling: the last of it may not fit, and then less than this is left.
const PIECES_BYTES: [usize; 3] = [1024 * 1024, 4096, 1];

/// Mounts, says so, and keeps the name space.
const HOLD: &str =
    r#"mount -t tmpfs -o "size=$2,mode=0777" tmpfs "$1" && echo mounted && exec sleep infinity"#;

/// A mounted file system, in memory. Dropping it ends it as soon as no process is inside any more.
pub struct Volume {
    directory: PathBuf,
    holder: Process,
}

impl Volume {
    /// A new, empty file system of this size.
    ///
    /// # Panics
    /// When it can't be mounted: the tests need root, or name spaces that everybody may make.
    pub async fn mount(size_bytes: usize) -> Self {
        let (directory, output) = (new_directory("volume"), new_directory("volume-holder").join("output"));
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation=private"]);
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["sh", "-c", HOLD, "hold"]).arg(&directory).arg(size_bytes.to_string());
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let start =
            Start { command, stdout: output.clone(), stderr: output.clone(), last_signal: Signal::KILL };
        let mut holder = Process::start(&start);
        eventually(DEADLINE, "the file system is mounted", async || {
            assert!(holder.exited().is_none(), "nothing can be mounted here\n{}", holder.account());
            fs::read_to_string(&output).is_ok_and(|text| text.contains("mounted"))
        })
        .await;
        Self { directory, holder }
    }

    /// Where it is, for processes inside.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// The same directory for the test, which is outside.
    pub fn from_outside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.pid().as_raw_pid()));
        root.join(self.directory.strip_prefix("/").unwrap_or(&self.directory))
    }

    /// The same command, inside. Its working directory is not kept.
    pub fn inside(&self, command: &Command) -> Command {
        let name_space = |kind: &str| format!("/proc/{}/ns/{kind}", self.holder.pid().as_raw_pid());
        let mut inside = Command::new("nsenter");
        if !rustix::process::geteuid().is_root() {
            inside.arg(format!("--user={}", name_space("user"))).arg("--preserve-credentials");
        }
        inside.arg(format!("--mount={}", name_space("mnt")));
        if !rustix::process::geteuid().is_root() {
            // Nobody is root any more from here on: PostgreSQL refuses to be.
            inside.args(["unshare", "--user", "--map-user=1000", "--map-group=1000"]);
        }
        inside.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                inside.env(name, value);
            }
        }
        inside
    }

    /// Takes the space that is left.
    ///
    /// # Panics
    /// When that fails otherwise than for want of space.
    pub fn fill(&self) {
        let mut ballast =
            File::options().create(true).append(true).open(self.from_outside().join(BALLAST)).unwrap();
        for piece in PIECES_BYTES {
            let piece = vec![0; piece];
            loop {
                match ballast.write(&piece) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("cannot fill the volume: {error}"),
                }
            }
        }
    }

    /// Gives all of it back.
    ///
    /// # Panics
    /// When nothing was taken.
    pub fn free(&self) {
        fs::remove_file(self.from_outside().join(BALLAST)).unwrap();
    }
}
