//! Kept objects are read: in pieces, for somebody who listens, or as an open file, for a cell.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tempfile::NamedTempFile;

use super::{Backend, Objects, ObjectsError, blocking};

/// Bytes of an object, in their order. It ends early, or with an error, where the backend breaks off.
pub type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A kept object as an open file, which may only be read.
#[derive(Debug)]
pub struct OpenObject {
    /// The file.
    pub file: File,
    /// The copy of an object that is no file; it goes with this.
    _copy: Option<NamedTempFile>,
}

impl Objects {
    /// The bytes of this range of the object at this location. Memory holds one piece of it: of a file 64 KiB, of a bucket's
    /// object a frame of its connection.
    ///
    /// # Errors
    /// [`ObjectsError::Missing`] when there is no such object, and the backend's own.
    pub async fn read(&self, location: &str, range: Range<u64>) -> Result<Pieces, ObjectsError> {
        let key = self.key_of(location).ok_or(ObjectsError::Missing)?;
        match &self.backend {
            Backend::File(directory) => directory.read(&key, range).await,
            Backend::S3(bucket) => bucket.read(&key, range).await,
        }
    }

    /// Opens the object at this location, of so many bytes. A bucket's object is copied to the staging directory before, unless
    /// that would take the reserve of its disk.
    ///
    /// # Errors
    /// [`ObjectsError::Missing`] when there is no such object or it has another size, [`ObjectsError::Reserve`], and the backend's
    /// own.
    pub async fn open_object(&self, location: &str, size_bytes: u64) -> Result<OpenObject, ObjectsError> {
        let key = self.key_of(location).ok_or(ObjectsError::Missing)?;
        match &self.backend {
            Backend::File(directory) => {
                let file = directory.open(&key).await?;
                let is_whole = file.metadata()?.len() == size_bytes;
                if is_whole { Ok(OpenObject { file, _copy: None }) } else { Err(ObjectsError::Missing) }
            }
            Backend::S3(bucket) => {
                let pieces = bucket.read(&key, 0..size_bytes).await?;
                self.copy(pieces, size_bytes).await
            }
        }
    }

    async fn copy(&self, mut pieces: Pieces, size_bytes: u64) -> Result<OpenObject, ObjectsError> {
        let staging = self.staging.clone();
        let mut copy = blocking(move || {
            staging.check(size_bytes)?;
            Ok(NamedTempFile::new_in(staging.directory())?)
        })
        .await?;
        let mut copied = 0;
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            copied += piece.len() as u64;
            if copied > size_bytes {
                break;
            }
            copy = blocking(move || {
                copy.write_all(&piece)?;
                Ok(copy)
            })
            .await?;
        }
        if copied != size_bytes {
            return Err(ObjectsError::Missing);
        }
        // Opened again, since a cell may only read it.
        blocking(move || Ok(OpenObject { file: File::open(copy.path())?, _copy: Some(copy) })).await
    }
}
