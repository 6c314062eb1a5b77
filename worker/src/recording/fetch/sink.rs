//! Where a recording's bytes go: a temporary file and a SHA-256, in one pass, off the async threads.

use std::io::{Seek, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::task::JoinHandle;

use super::Fetched;
use crate::recording::failure::{Failure, Reason};

/// Bytes that are hashed and written in one go: large enough that handing them over costs nothing beside the writing,
/// small enough that a fetch holds a quarter of a MiB (one piece being filled, one being written).
const PIECE_BYTES: usize = 128 * 1024;

/// How temporary files begin, so that those of a killed process can be told from others.
pub const TEMPORARY_PREFIX: &str = ".callvine-fetch-";

/// A file being written.
#[derive(Debug)]
struct Open {
    file: NamedTempFile,
    hasher: Sha256,
}

/// The sink. While one piece is written the next one fills.
#[derive(Debug)]
pub(super) struct Sink {
    writing: Writing,
    piece: Vec<u8>,
    received_bytes: u64,
    bytes_max: u64,
}

/// Who has the file.
#[derive(Debug)]
enum Writing {
    Idle(Box<Open>),
    Busy(JoinHandle<std::io::Result<(Box<Open>, Vec<u8>)>>),
    /// A write has failed, and with it the sink.
    Failed,
}

impl Sink {
    /// A sink into a new file in `directory`, which takes at most `bytes_max` bytes.
    pub(super) async fn create(directory: &Path, bytes_max: u64) -> Result<Self, Failure> {
        let directory = directory.to_owned();
        let create = move || tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(directory);
        let file = tokio::task::spawn_blocking(create).await.map_err(std::io::Error::other);
        let file = file.flatten().map_err(|error| storage(&error))?;
        let open = Box::new(Open { file, hasher: Sha256::new() });
        let piece = Vec::with_capacity(PIECE_BYTES);
        Ok(Self { writing: Writing::Idle(open), piece, received_bytes: 0, bytes_max })
    }

    /// Bytes taken so far.
    pub(super) const fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Takes bytes. Waits only while a whole piece is still being written.
    pub(super) async fn push(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        let received = self.received_bytes.saturating_add(bytes.len() as u64);
        if received > self.bytes_max {
            return Err(too_large());
        }
        self.received_bytes = received;
        while !bytes.is_empty() {
            let room = PIECE_BYTES.saturating_sub(self.piece.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() >= PIECE_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Forgets what was taken: the host sends from the beginning again.
    pub(super) async fn restart(&mut self) -> Result<(), Failure> {
        let (mut open, _) = self.settle().await?;
        let rewind = move || {
            open.file.as_file().set_len(0)?;
            open.file.rewind()?;
            open.hasher = Sha256::new();
            Ok(open)
        };
        let open = tokio::task::spawn_blocking(rewind).await.map_err(std::io::Error::other);
        self.writing = Writing::Idle(open.flatten().map_err(|error| storage(&error))?);
        self.piece.clear();
        self.received_bytes = 0;
        Ok(())
    }

    /// The finished file.
    pub(super) async fn finish(mut self) -> Result<Fetched, Failure> {
        if self.received_bytes == 0 {
            return Err(Failure::new(Reason::Empty, "the host sent no bytes"));
        }
        if !self.piece.is_empty() {
            self.flush().await?;
        }
        let (open, _) = self.settle().await?;
        let Open { file, hasher } = *open;
        Ok(Fetched { file, size_bytes: self.received_bytes, sha256: hasher.finalize().into() })
    }

    /// Starts writing the piece, once the last one is written.
    async fn flush(&mut self) -> Result<(), Failure> {
        let (mut open, spare) = self.settle().await?;
        let mut piece = std::mem::replace(&mut self.piece, spare);
        let write = move || {
            open.hasher.update(&piece);
            open.file.write_all(&piece)?;
            piece.clear();
            Ok((open, piece))
        };
        self.writing = Writing::Busy(tokio::task::spawn_blocking(write));
        Ok(())
    }

    /// Waits for the write under way; leaves the sink without its file, and returns that with an empty buffer.
    async fn settle(&mut self) -> Result<(Box<Open>, Vec<u8>), Failure> {
        let lost = || std::io::Error::other("an earlier write failed");
        let settled = match std::mem::replace(&mut self.writing, Writing::Failed) {
            Writing::Idle(open) => Ok((open, Vec::with_capacity(PIECE_BYTES))),
            Writing::Busy(write) => write.await.map_err(std::io::Error::other).flatten(),
            Writing::Failed => Err(lost()),
        };
        settled.map_err(|error| storage(&error))
    }
}

/// More than the sink takes.
pub(super) fn too_large() -> Failure {
    Failure::new(Reason::TooLarge, "the recording is larger than CALLVINE_MAX_RECORDING")
}

fn storage(error: &std::io::Error) -> Failure {
    Failure::new(Reason::Storage, format!("cannot write a temporary file: {}", error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex_of(bytes: &[u8]) -> String {
        hex::encode(Sha256::digest(bytes))
    }

    #[tokio::test]
    async fn what_goes_in_is_in_the_file_and_in_the_hash() {
        let directory = tempfile::tempdir().unwrap();
        for size in [1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 7] {
            let bytes: Vec<u8> = (0..=250).cycle().take(size).collect();
            let mut sink = Sink::create(directory.path(), size as u64).await.unwrap();
            for chunk in bytes.chunks(100_003) {
                sink.push(chunk).await.unwrap();
            }
            let fetched = sink.finish().await.unwrap();
            assert_eq!(fetched.size_bytes, size as u64);
            assert_eq!(hex::encode(fetched.sha256), hex_of(&bytes));
            assert_eq!(std::fs::read(fetched.file.path()).unwrap(), bytes);
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "files go with their owners");
    }

    #[tokio::test]
    async fn a_restarted_sink_holds_only_what_came_after() {
        let directory = tempfile::tempdir().unwrap();
        let mut sink = Sink::create(directory.path(), 1 << 20).await.unwrap();
        sink.push(&vec![1; PIECE_BYTES + 5]).await.unwrap();
        sink.restart().await.unwrap();
        sink.push(b"again").await.unwrap();
        let fetched = sink.finish().await.unwrap();
        assert_eq!(std::fs::read(fetched.file.path()).unwrap(), b"again");
        assert_eq!(hex::encode(fetched.sha256), hex_of(b"again"));
    }

    #[tokio::test]
    async fn one_byte_too_many_is_too_large() {
        let directory = tempfile::tempdir().unwrap();
        let mut sink = Sink::create(directory.path(), 4).await.unwrap();
        sink.push(b"four").await.unwrap();
        assert_eq!(sink.push(b"!").await.unwrap_err().reason, Reason::TooLarge);
    }

    #[tokio::test]
    async fn a_missing_directory_is_storage_and_tried_again() {
        let failure = Sink::create(Path::new("/nonexistent"), 4).await.unwrap_err();
        assert_eq!(failure.reason, Reason::Storage);
    }
}
