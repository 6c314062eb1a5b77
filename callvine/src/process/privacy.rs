//! Files that hold calls and recordings are for the program's own user alone.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use callvine_shared::objects::Address;
use rustix::fs::Mode;

use super::Plan;

/// The bits of a mode that let the group and others in.
const OTHERS: u32 = 0o077;

/// The files that SQLite and the lock add beside a database.
const COMPANIONS: [&str; 4] = ["-wal", "-shm", "-journal", ".lock"];

/// Makes every directory that this process creates 0700 and every file 0600, SQLite's included.
pub(crate) fn keep_new_files_private() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// Warns of what was there before and lets others in; an operator may have opened it on purpose, so it stays.
pub(super) fn warn_of_open_files(plan: &Plan) {
    let mut paths = vec![plan.data_dir.clone()];
    if let Some(database) = plan.database.file() {
        let companion = |suffix: &&str| {
            let mut name = database.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        let companions: Vec<PathBuf> = COMPANIONS.iter().map(companion).collect();
        paths.push(database);
        paths.extend(companions);
    }
    if let Some(Address::File(root)) = &plan.recordings {
        paths.push(root.clone());
    }
    let open: Vec<String> = paths
        .iter()
        .filter(|path| lets_others_in(path))
        .map(|path| format!("'{}'", path.display()))
        .collect();
    if !open.is_empty() {
        tracing::warn!(
            "other users of this machine can get at calls or recordings: run `chmod go= {}`",
            open.join(" ")
        );
    }
}

fn lets_others_in(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & OTHERS != 0)
}
