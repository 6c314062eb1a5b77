//! Objects in a bucket of an S3-compatible store.
//!
//! A small object goes in one request, on the condition that there is no such object. A larger one goes in parts, which
//! the store shows to nobody before it puts them together.

mod abandoned;
mod client;
mod connect;
mod failure;
mod inventory;
mod read;
mod settings;
mod upload;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3;
use object_store::client::HttpClient;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use tokio::sync::Semaphore;
use url::Url;

use super::ObjectsError;
pub use failure::S3Failure;

/// Longest wait of a ping: `/readyz` asks for other things too, and must answer in time.
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// A bucket, and a prefix in it. Cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<AmazonS3>,
    /// `s3://bucket/prefix/`, with which the locations of all its objects begin.
    base: Arc<str>,
    prefix: Path,
    /// Bytes of uploads in memory, in units of `upload::UNIT_BYTES`.
    memory: Arc<Semaphore>,
    /// For the one request that `store` has no function for.
    client: HttpClient,
}

/// Leaves out the store, which has credentials.
impl fmt::Debug for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Bucket").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Bucket {
    /// The bucket at `s3://bucket/prefix`, with these `AWS_*` settings. Sends nothing.
    pub(super) fn new(url: &Url, aws: &[(String, String)]) -> Result<Self, ObjectsError> {
        let (bucket, prefix) = settings::parts(url).ok_or(ObjectsError::Url)?;
        let (store, client) = settings::store(bucket, aws)?;
        let mut base = format!("s3://{bucket}/");
        if !prefix.as_ref().is_empty() {
            base = format!("{base}{prefix}/");
        }
        let memory = Arc::new(Semaphore::new(upload::UNITS));
        Ok(Self { store: Arc::new(store), base: base.into(), prefix, memory, client })
    }

    /// The path of a key, which is one of ours and needs no encoding.
    fn path(&self, key: &str) -> Path {
        key.split('/').filter(|part| !part.is_empty()).fold(self.prefix.clone(), |path, part| path.join(part))
    }

    /// Checks that the bucket can be read with these credentials. Lists a directory that never has objects, which is
    /// quick however many there are elsewhere.
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

    /// Tells whether there is such an object.
    async fn has(&self, path: &Path) -> Result<bool, ObjectsError> {
        match self.store.head(path).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(S3Failure::of(error).into()),
        }
    }
}
