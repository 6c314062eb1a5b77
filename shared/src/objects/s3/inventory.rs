//! The inventory of a bucket: sizes, hashes and listings of its objects.

use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};

use super::Bucket;
use super::failure::{S3Failure, unless_missing};
use crate::objects::ObjectsError;
use crate::objects::inventory::{ListedObject, Listing, SET_ASIDE};

impl Bucket {
    pub(in crate::objects) async fn size_bytes(&self, key: &str) -> Result<Option<u64>, ObjectsError> {
        let found = unless_missing(self.store.head(&self.path(key)).await)?;
        Ok(found.map(|found| found.size))
    }

    pub(in crate::objects) async fn sha256(&self, key: &str) -> Result<Option<String>, ObjectsError> {
        let Some(found) = unless_missing(self.store.get(&self.path(key)).await)? else { return Ok(None) };
        let mut hash = Sha256::new();
        let mut pieces = found.into_stream();
        while let Some(piece) = pieces.next().await {
            hash.update(&piece.map_err(S3Failure::of)?);
        }
        Ok(Some(hex::encode(hash.finalize())))
    }

    pub(in crate::objects) async fn list(&self, directory: &str) -> Result<Listing, ObjectsError> {
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

    pub(in crate::objects) async fn set_aside(&self, key: &str) -> Result<(), ObjectsError> {
        let (from, to) = (self.path(key), self.path(&format!("{SET_ASIDE}/{key}")));
        if unless_missing(self.store.copy(&from, &to).await)?.is_some() {
            unless_missing(self.store.delete(&from).await)?;
        }
        Ok(())
    }

    /// The key of an object of the store; `None` outside the prefix.
    fn key(&self, path: &Path) -> Option<String> {
        let parts: Vec<String> =
            path.prefix_match(&self.prefix)?.map(|part| part.as_ref().to_owned()).collect();
        Some(parts.join("/"))
    }
}
