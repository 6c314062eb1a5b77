//! One process at a time may own an embedded database: a second one would release the leases of the first at its start.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use callvine_shared::store::DatabaseUrl;

use crate::failure::Failure;

/// The ownership of an embedded database, until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct DataLock(#[expect(dead_code, reason = "held for its lock")] File);

impl DataLock {
    /// Locks the database of this URL; `None`: it is not an embedded one.
    pub(crate) fn of_embedded(url: &DatabaseUrl) -> Result<Option<Self>, Failure> {
        let Some(database) = url.file() else { return Ok(None) };
        let path = lock_path(&database);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot create {} (CALLVINE_DATA_DIR)", directory.display()))?;
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {} (CALLVINE_DATA_DIR)", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Err(anyhow!(
                "another callvine is using {} (give this one a CALLVINE_DATA_DIR of its own)",
                database.display()
            )
            .into()),
            Err(TryLockError::Error(error)) => {
                Err(anyhow::Error::new(error).context(format!("cannot lock {}", path.display())).into())
            }
        }
    }
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}
