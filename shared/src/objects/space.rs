//! Free space on the disk where recordings are staged, of which a reserve is kept: with `callvine up`, for the database.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::ObjectsError;

/// The staging directory, and the free space of its disk that recordings may not take. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Space {
    directory: Arc<Path>,
    reserve_bytes: u64,
}

impl Space {
    /// This directory, on a disk that is to keep so much free. 0: nothing is kept.
    #[must_use]
    pub fn new(directory: &Path, reserve_bytes: u64) -> Self {
        Self { directory: directory.into(), reserve_bytes }
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The bytes that the disk has free for this process. Blocks for a moment.
    ///
    /// # Errors
    /// When the directory's file system can't be asked.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&*self.directory)?;
        // Some network file systems have no size at all: they are never full.
        Ok(if disk.f_blocks == 0 { u64::MAX } else { disk.f_bavail.saturating_mul(disk.f_frsize) })
    }

    /// Whether so many bytes more leave the reserve untouched. Blocks for a moment.
    ///
    /// # Errors
    /// [`ObjectsError::Reserve`] when they don't, [`ObjectsError::Io`] when that can't be told.
    pub fn check(&self, more_bytes: u64) -> Result<(), ObjectsError> {
        if self.reserve_bytes == 0 {
            return Ok(());
        }
        let left = self.free_bytes()?.checked_sub(more_bytes);
        if left.is_some_and(|left| left >= self.reserve_bytes) { Ok(()) } else { Err(ObjectsError::Reserve) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_take_the_reserve_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let free = Space::new(directory.path(), 0).free_bytes().unwrap();
        assert!(free > 0);
        // Others write to this disk meanwhile.
        let half = Space::new(directory.path(), free / 2);
        half.check(0).unwrap();
        half.check(free / 4).unwrap();
        assert!(matches!(half.check(free), Err(ObjectsError::Reserve)));
        assert!(matches!(Space::new(directory.path(), u64::MAX).check(0), Err(ObjectsError::Reserve)));
        Space::new(directory.path(), 0).check(u64::MAX).unwrap();
    }

    #[test]
    fn a_disk_that_cannot_be_asked_is_an_error() {
        let nowhere = Space::new(Path::new("/nonexistent"), 1);
        assert!(matches!(nowhere.check(0), Err(ObjectsError::Io(_))));
    }
}
