//! Objects in a bucket of an S3-compatible store.
//!
//! What fits one request goes in one, on the condition that there is no such object. What is larger goes in parts, of
//! which nothing is to be seen before the last one: the store puts them together, or forgets them all.

mod abandoned;
mod failure;
mod settings;
mod upload;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use url::Url;

use super::ObjectsError;
use super::inventory::{ListedObject, Listing, SET_ASIDE};
pub use failure::S3Failure;
use failure::unless_missing;

/// Longest wait for an answer to whether the bucket is there: whoever asks has other parts to ask for.
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// A bucket, and a prefix in it. Cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<AmazonS3>,
    /// `s3://bucket/prefix/`, what the locations of all its objects begin with.
    base: Arc<str>,
    prefix: Path,
    /// Bytes of uploads in memory, in units of [`upload::UNIT_BYTES`].
    memory: Arc<Semaphore>,
    /// Whether the store is reached without TLS.
    is_plain: bool,
}

/// Without the store, which has credentials.
impl fmt::Debug for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Bucket").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Bucket {
    /// The bucket at `s3://bucket/prefix`, with these `AWS_*` settings. Asks nobody.
    pub(super) fn new(url: &Url, aws: &[(String, String)]) -> Result<Self, ObjectsError> {
        let (bucket, prefix) = settings::parts(url).ok_or(ObjectsError::Url)?;
        let (store, is_plain) = settings::store(bucket, aws)?;
        let mut base = format!("s3://{bucket}/");
        if !prefix.as_ref().is_empty() {
            base = format!("{base}{prefix}/");
        }
        let memory = Arc::new(Semaphore::new(upload::UNITS));
        Ok(Self { store: Arc::new(store), base: base.into(), prefix, memory, is_plain })
    }

    /// Keys are our own: made of what needs no encoding.
    fn path(&self, key: &str) -> Path {
        key.split('/').filter(|part| !part.is_empty()).fold(self.prefix.clone(), |path, part| path.join(part))
    }

    /// Of what lies below the prefix.
    fn key(&self, path: &Path) -> Option<String> {
        let parts: Vec<String> =
            path.prefix_match(&self.prefix)?.map(|part| part.as_ref().to_owned()).collect();
        Some(parts.join("/"))
    }

    /// Whether the bucket can be read with these credentials. Looks where there is nothing, which is quick however many
    /// objects there are.
    pub(super) async fn ping(&self) -> Result<(), ObjectsError> {
        let nothing = self.prefix.clone().join(".ping");
        let listed = self.store.list_with_delimiter(Some(&nothing));
        match tokio::time::timeout(PING_TIMEOUT, listed).await {
            Ok(listed) => Ok(listed.map(drop).map_err(S3Failure::of)?),
            Err(_) => Err(S3Failure::Unreachable.into()),
        }
    }

    pub(super) fn key_of(&self, location: &str) -> Option<String> {
        location.strip_prefix(&*self.base).map(str::to_owned)
    }

    pub(super) fn location_of(&self, key: &str) -> String {
        format!("{}{key}", self.base)
    }

    pub(super) async fn size_bytes(&self, key: &str) -> Result<Option<u64>, ObjectsError> {
        let found = unless_missing(self.store.head(&self.path(key)).await)?;
        Ok(found.map(|found| found.size))
    }

    pub(super) async fn sha256(&self, key: &str) -> Result<Option<String>, ObjectsError> {
        let Some(found) = unless_missing(self.store.get(&self.path(key)).await)? else { return Ok(None) };
        let mut hash = Sha256::new();
        let mut pieces = found.into_stream();
        while let Some(piece) = pieces.next().await {
            hash.update(&piece.map_err(S3Failure::of)?);
        }
        Ok(Some(hex::encode(hash.finalize())))
    }

    pub(super) async fn list(&self, directory: &str) -> Result<Listing, ObjectsError> {
        let path = self.path(directory);
        let listed = self.store.list_with_delimiter(Some(&path)).await.map_err(S3Failure::of)?;
        let objects = listed.objects.into_iter().filter_map(|object| {
            Some(ListedObject { key: self.key(&object.location)?, modified: object.last_modified.into() })
        });
        let mut directories: Vec<String> =
            listed.common_prefixes.iter().filter_map(|path| self.key(path)).collect();
        directories.retain(|name| name != SET_ASIDE);
        directories.sort();
        Ok(Listing { directories, objects: objects.collect() })
    }

    pub(super) async fn set_aside(&self, key: &str) -> Result<(), ObjectsError> {
        let (from, to) = (self.path(key), self.path(&format!("{SET_ASIDE}/{key}")));
        if unless_missing(self.store.copy(&from, &to).await)?.is_some() {
            unless_missing(self.store.delete(&from).await)?;
        }
        Ok(())
    }

    /// Whether there is such an object.
    async fn has(&self, path: &Path) -> Result<bool, ObjectsError> {
        match self.store.head(path).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(S3Failure::of(error).into()),
        }
    }
}
