//! PostgreSQL's programs, and the user that they run as.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::run;

/// Lets the server's user write into its directory.
pub(super) async fn hand_over(directory: &Path) {
    if rustix::process::geteuid().is_root() {
        let mut chown = Command::new("chown");
        chown.arg("postgres").arg(directory);
        run(chown).await;
    }
}

/// PostgreSQL refuses to run as root: there it runs as the user `postgres`, which its package has made. `setpriv`
/// becomes the server, so that its process id is the server's.
pub(super) fn as_server_user(program: &Path) -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
        setpriv
    } else {
        Command::new(program)
    };
    command.env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir("/");
    command
}

/// The newest installed version's programs. The ones on the search path may be wrappers for a system's own cluster.
pub(super) fn binaries() -> PathBuf {
    let installed = |root: &str| {
        let versions = fs::read_dir(root).into_iter().flatten().flatten();
        versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists())
    };
    let version_of = |bin: &PathBuf| -> Option<u32> { bin.parent()?.file_name()?.to_str()?.parse().ok() };
    installed("/usr/lib/postgresql")
        .max_by_key(version_of)
        .expect("PostgreSQL is not installed: run tests/setup.sh")
}
