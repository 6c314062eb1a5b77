//! Objects of a directory are read.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::ops::Range;

use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::Directory;
use crate::objects::read::Pieces;
use crate::objects::{ObjectsError, blocking};

/// Bytes read at a time: few switches to the threads that read files, little memory.
const PIECE_BYTES: usize = 64 * 1024;

impl Directory {
    pub(in crate::objects) async fn open(&self, key: &str) -> Result<File, ObjectsError> {
        let path = self.root.join(key);
        blocking(move || match File::open(path) {
            Ok(file) if file.metadata()?.is_file() => Ok(file),
            Ok(_directory) => Err(ObjectsError::Missing),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ObjectsError::Missing),
            Err(error) => Err(error.into()),
        })
        .await
    }

    pub(in crate::objects) async fn read(
        &self,
        key: &str,
        range: Range<u64>,
    ) -> Result<Pieces, ObjectsError> {
        let mut file = self.open(key).await?;
        let file = blocking(move || {
            file.seek(SeekFrom::Start(range.start))?;
            Ok(file)
        })
        .await?;
        let bytes = tokio::fs::File::from_std(file).take(range.end.saturating_sub(range.start));
        Ok(Box::pin(ReaderStream::with_capacity(bytes, PIECE_BYTES)))
    }
}
