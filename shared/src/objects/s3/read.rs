//! Objects of a bucket are read.

use std::io;
use std::ops::Range;

use futures_util::TryStreamExt as _;
use object_store::{GetOptions, GetRange, ObjectStore as _};

use super::Bucket;
use super::failure::{S3Failure, unless_missing};
use crate::objects::ObjectsError;
use crate::objects::read::Pieces;

impl Bucket {
    pub(in crate::objects) async fn read(
        &self,
        key: &str,
        range: Range<u64>,
    ) -> Result<Pieces, ObjectsError> {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let found = unless_missing(self.store.get_opts(&self.path(key), options).await)?;
        let pieces = found.ok_or(ObjectsError::Missing)?.into_stream();
        Ok(Box::pin(pieces.map_err(|error| io::Error::other(S3Failure::of(error)))))
    }
}
