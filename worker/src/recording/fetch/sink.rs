//! The sink of a recording's bytes: a temporary file and a SHA-256, in one pass.

use std::io::{Seek, Write};

use callvine_shared::objects::{ObjectsError, Space};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::Fetched;
use crate::recording::failure::{Failure, Reason};

/// How the names of temporary files begin, so that those of a killed process can be told from others.
pub const TEMPORARY_PREFIX: &str = ".callvine-fetch-";

/// The disk's free space is looked at before every so many bytes of a recording. As many recordings as are under way may
/// take these beyond the reserve.
const BYTES_PER_LOOK: u64 = 1024 * 1024;

/// The sink. Blocks while it writes.
#[derive(Debug)]
pub(super) struct Sink {
    file: NamedTempFile,
    hasher: Sha256,
    received_bytes: u64,
    bytes_max: u64,
    space: Space,
    /// So many bytes may be received before the free space is looked at again.
    looked_until: u64,
}

impl Sink {
    /// A sink into a new file in this space, which takes at most `bytes_max` bytes.
    pub(super) fn create(space: &Space, bytes_max: u64) -> Result<Self, Failure> {
        check(space, 0)?;
        let file = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(space.directory());
        let file = file.map_err(|error| storage(&error))?;
        let (hasher, space) = (Sha256::new(), space.clone());
        Ok(Self { file, hasher, received_bytes: 0, bytes_max, space, looked_until: 0 })
    }

    /// Bytes taken so far.
    pub(super) const fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Refuses so many bytes more where they are too many, or would take the disk's reserve.
    pub(super) fn expect(&self, more_bytes: u64) -> Result<(), Failure> {
        if more_bytes.saturating_add(self.received_bytes) > self.bytes_max {
            return Err(too_large());
        }
        check(&self.space, more_bytes)
    }

    /// Takes bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let received = self.received_bytes.saturating_add(bytes.len() as u64);
        if received > self.bytes_max {
            return Err(too_large());
        }
        if received > self.looked_until {
            check(&self.space, bytes.len() as u64)?;
            self.looked_until = received.saturating_add(BYTES_PER_LOOK);
        }
        self.received_bytes = received;
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(|error| storage(&error))
    }

    /// Empties the sink: the host sends from the beginning again.
    pub(super) fn restart(&mut self) -> Result<(), Failure> {
        let rewound = self.file.as_file().set_len(0).and_then(|()| self.file.rewind());
        rewound.map_err(|error| storage(&error))?;
        self.hasher = Sha256::new();
        self.received_bytes = 0;
        self.looked_until = 0;
        Ok(())
    }

    /// The finished file. `is_end_told`: see [`Fetched::is_end_told`].
    pub(super) fn finish(self, is_end_told: bool) -> Result<Fetched, Failure> {
        if self.received_bytes == 0 {
            return Err(Failure::new(Reason::Empty, "the host sent no bytes"));
        }
        let sha256 = self.hasher.finalize().into();
        Ok(Fetched { file: self.file, size_bytes: self.received_bytes, is_end_told, sha256 })
    }
}

/// The failure of a recording with more bytes than the sink takes.
fn too_large() -> Failure {
    Failure::new(Reason::TooLarge, "the recording is larger than CALLVINE_MAX_RECORDING")
}

fn check(space: &Space, more_bytes: u64) -> Result<(), Failure> {
    space.check(more_bytes).map_err(|error| match error {
        ObjectsError::Io(error) => storage(&error),
        reserve => Failure::new(Reason::Storage, reserve.to_string()),
    })
}

fn storage(error: &std::io::Error) -> Failure {
    Failure::new(Reason::Storage, format!("cannot write a temporary file: {}", error.kind()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::recording::failure::Retry;

    fn space(directory: &tempfile::TempDir) -> Space {
        Space::new(directory.path(), 0)
    }

    fn hex_of(bytes: &[u8]) -> String {
        hex::encode(Sha256::digest(bytes))
    }

    #[test]
    fn what_goes_in_is_in_the_file_and_in_the_hash() {
        let directory = tempfile::tempdir().unwrap();
        for size in [1, 100_002, 100_003, 100_004, 250_000] {
            let bytes: Vec<u8> = (0..=250).cycle().take(size).collect();
            let mut sink = Sink::create(&space(&directory), size as u64).unwrap();
            for chunk in bytes.chunks(100_003) {
                sink.push(chunk).unwrap();
            }
            let fetched = sink.finish(true).unwrap();
            assert_eq!(fetched.size_bytes, size as u64);
            assert_eq!(hex::encode(fetched.sha256), hex_of(&bytes));
            assert_eq!(std::fs::read(fetched.file.path()).unwrap(), bytes);
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "files go with their owners");
    }

    #[test]
    fn a_restarted_sink_holds_only_what_came_after() {
        let directory = tempfile::tempdir().unwrap();
        let mut sink = Sink::create(&space(&directory), 1 << 20).unwrap();
        sink.push(&[1; 100_000]).unwrap();
        sink.restart().unwrap();
        sink.push(b"again").unwrap();
        let fetched = sink.finish(true).unwrap();
        assert_eq!(std::fs::read(fetched.file.path()).unwrap(), b"again");
        assert_eq!(hex::encode(fetched.sha256), hex_of(b"again"));
    }

    #[test]
    fn one_byte_too_many_is_too_large() {
        let directory = tempfile::tempdir().unwrap();
        let mut sink = Sink::create(&space(&directory), 4).unwrap();
        sink.push(b"four").unwrap();
        assert_eq!(sink.push(b"!").unwrap_err().reason, Reason::TooLarge);
    }

    #[test]
    fn a_missing_directory_is_storage_and_tried_again() {
        let failure = Sink::create(&Space::new(Path::new("/nonexistent"), 0), 4).unwrap_err();
        assert_eq!(failure.reason, Reason::Storage);
    }

    #[test]
    fn what_would_take_the_reserve_is_storage_and_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let free = space(&directory).free_bytes().unwrap();
        let full = Sink::create(&Space::new(directory.path(), u64::MAX), 4).unwrap_err();
        let sink = Sink::create(&Space::new(directory.path(), free / 2), u64::MAX).unwrap();
        for failure in [full, sink.expect(free).unwrap_err()] {
            assert_eq!((failure.reason, failure.retry), (Reason::Storage, Retry::Later));
            assert!(failure.detail.contains("CALLVINE_MIN_FREE"), "{failure}");
        }
        sink.expect(1).unwrap();
    }
}
