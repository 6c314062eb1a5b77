//! Writes objects to a bucket, in memory that grows neither with an object nor with the number of uploads.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
};
use tempfile::NamedTempFile;

use super::Bucket;
use super::failure::S3Failure;
use crate::objects::{ObjectsError, blocking};

/// Largest object that goes in one request, and the usual part of a larger one. S3 takes parts of 5 MiB and more; these
/// cost few requests and fit into memory.
const PART_BYTES: u64 = 8 * 1024 * 1024;

/// S3 takes 10,000 parts; an object of more than 78 GiB goes in larger ones.
const PARTS_MAX: u64 = 10_000;

/// Parts of one object under way at once: enough to fill a connection over a long distance.
const PARTS_AT_ONCE: usize = 4;

/// The unit in which the memory of uploads is counted.
const UNIT_BYTES: u64 = 64 * 1024;

/// Memory of all uploads at once, in units: 32 MiB, whatever the number of uploads.
pub(super) const UNITS: usize = 512;

impl Bucket {
    pub(in crate::objects) async fn keep(
        &self,
        key: &str,
        media_type: &str,
        staged: NamedTempFile,
    ) -> Result<String, ObjectsError> {
        let staged = Arc::new(staged);
        let file = staged.clone();
        let size_bytes = blocking(move || Ok(file.as_file().metadata()?.len())).await?;
        let path = self.path(key);
        let attributes: Attributes = [(Attribute::ContentType, media_type.to_owned())].into_iter().collect();
        if size_bytes <= PART_BYTES {
            self.put_whole(&path, attributes, staged, size_bytes).await?;
        } else if !self.has(&path).await? {
            self.put_parts(&path, attributes, &staged, size_bytes).await?;
        }
        Ok(self.location_of(key))
    }

    /// Writes in one request, which the store refuses when there is such an object.
    async fn put_whole(
        &self,
        path: &Path,
        attributes: Attributes,
        staged: Arc<NamedTempFile>,
        size_bytes: u64,
    ) -> Result<(), ObjectsError> {
        let _memory = self.memory(size_bytes).await;
        let payload = PutPayload::from(read(staged, 0, size_bytes).await?);
        let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
        let put = match self.store.put_opts(path, payload.clone(), options.clone()).await {
            // AWS_CONDITIONAL_PUT=disabled: the store knows no conditions.
            Err(Error::NotImplemented { .. }) if self.has(path).await? => return Ok(()),
            Err(Error::NotImplemented { .. }) => {
                self.store.put_opts(path, payload, PutOptions { mode: PutMode::Overwrite, ..options }).await
            }
            put => put,
        };
        match put {
            Ok(_) | Err(Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(S3Failure::of(error).into()),
        }
    }

    /// Writes in parts. Two workers that write one key at once leave one whole object, since both write the same.
    async fn put_parts(
        &self,
        path: &Path,
        attributes: Attributes,
        staged: &Arc<NamedTempFile>,
        size_bytes: u64,
    ) -> Result<(), ObjectsError> {
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let id = self.store.create_multipart_opts(path, options).await.map_err(S3Failure::of)?;
        let sent = match self.send_parts(path, &id, staged, size_bytes).await {
            Ok(parts) => self.store.complete_multipart(path, &id, parts).await.map_err(S3Failure::of),
            Err(failure) => {
                self.abort(path, &id).await;
                return Err(failure);
            }
        };
        if let Err(failure) = sent {
            self.abort(path, &id).await;
            return Err(failure.into());
        }
        Ok(())
    }

    async fn send_parts(
        &self,
        path: &Path,
        id: &String,
        staged: &Arc<NamedTempFile>,
        size_bytes: u64,
    ) -> Result<Vec<PartId>, ObjectsError> {
        let part_bytes = PART_BYTES.max(size_bytes.div_ceil(PARTS_MAX));
        let starts = std::iter::successors(Some(0), |start| Some(start + part_bytes));
        let parts =
            starts.take_while(|start| *start < size_bytes).enumerate().map(|(number, start)| async move {
                let length = part_bytes.min(size_bytes - start);
                let _memory = self.memory(length).await;
                let part = read(staged.clone(), start, length).await?;
                Ok(self.store.put_part(path, id, number, part.into()).await.map_err(S3Failure::of)?)
            });
        stream::iter(parts).buffered(PARTS_AT_ONCE).try_collect().await
    }

    /// Makes the store drop the parts of an upload.
    async fn abort(&self, path: &Path, id: &String) {
        match self.store.abort_multipart(path, id).await {
            // The upload is complete after all, or the store has lost it.
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => {
                let error = S3Failure::of(error);
                tracing::warn!(%error, "an upload is not finished, and can't be given up now; it is swept in a day");
            }
        }
    }

    /// Waits for a share of the memory for uploads, first come, first served. Never `None`: the semaphore stays open.
    async fn memory(&self, size_bytes: u64) -> Option<tokio::sync::SemaphorePermit<'_>> {
        let units = usize::try_from(size_bytes.div_ceil(UNIT_BYTES)).unwrap_or(UNITS).min(UNITS);
        self.memory.acquire_many(u32::try_from(units).unwrap_or(u32::MAX)).await.ok()
    }
}

/// Reads `length` bytes of a staged file.
async fn read(staged: Arc<NamedTempFile>, start: u64, length: u64) -> Result<Bytes, ObjectsError> {
    blocking(move || {
        let mut bytes = vec![0; usize::try_from(length).map_err(std::io::Error::other)?];
        staged.as_file().read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    })
    .await
}
