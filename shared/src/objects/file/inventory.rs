//! The inventory of a directory: sizes, hashes and listings of its objects.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};
use url::Url;

use super::{Directory, STAGING, file_url, unless_missing};
use crate::objects::inventory::{ListedObject, Listing, SET_ASIDE};
use crate::objects::{ObjectsError, blocking};

/// Bytes read at a time for hashing: few calls, little memory.
const PIECE_BYTES: usize = 64 * 1024;

impl Directory {
    /// Opens the directory if it exists. Blocks.
    pub(in crate::objects) fn open_existing(root: &Path) -> Result<Self, ObjectsError> {
        let root = root.canonicalize()?;
        // Says "not a directory" where that is so.
        std::fs::read_dir(&root)?;
        Ok(Self { root: root.into() })
    }

    pub(in crate::objects) fn key_of(&self, location: &str) -> Option<String> {
        let path = Url::parse(location).ok()?.to_file_path().ok()?;
        slashed(path.strip_prefix(&*self.root).ok()?)
    }

    pub(in crate::objects) fn location_of(&self, key: &str) -> Option<String> {
        file_url(&self.root.join(key)).ok()
    }

    pub(in crate::objects) async fn size_bytes(&self, key: &str) -> Result<Option<u64>, ObjectsError> {
        let path = self.root.join(key);
        blocking(move || Ok(unless_missing(path.metadata())?.map(|metadata| metadata.len()))).await
    }

    pub(in crate::objects) async fn sha256(&self, key: &str) -> Result<Option<String>, ObjectsError> {
        let path = self.root.join(key);
        blocking(move || {
            let Some(mut file) = unless_missing(File::open(path))? else { return Ok(None) };
            let mut hash = Sha256::new();
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let count = file.read(&mut piece)?;
                if count == 0 {
                    return Ok(Some(hex::encode(hash.finalize())));
                }
                hash.update(piece.get(..count).unwrap_or_default());
            }
        })
        .await
    }

    pub(in crate::objects) async fn list(&self, directory: &str) -> Result<Listing, ObjectsError> {
        let (root, path) = (self.root.clone(), self.root.join(directory));
        blocking(move || {
            let mut listing = Listing::default();
            let Some(entries) = unless_missing(std::fs::read_dir(&path))? else { return Ok(listing) };
            for entry in entries {
                let entry = entry?;
                let path = entry.path();
                let Some(key) = path.strip_prefix(&root).ok().and_then(slashed) else { continue };
                // It may have been removed since it was listed.
                let Some(metadata) = unless_missing(entry.metadata())? else { continue };
                if metadata.is_dir() {
                    if key != STAGING && key != SET_ASIDE {
                        listing.directories.push(key);
                    }
                } else {
                    listing.objects.push(ListedObject { key, modified: metadata.modified()? });
                }
            }
            listing.directories.sort();
            Ok(listing)
        })
        .await
    }

    pub(in crate::objects) async fn set_aside(&self, key: &str) -> Result<(), ObjectsError> {
        let (from, to) = (self.root.join(key), self.root.join(SET_ASIDE).join(key));
        blocking(move || {
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent)?;
            }
            unless_missing(std::fs::rename(from, to))?;
            Ok(())
        })
        .await
    }
}

/// The key of a path below the root; `None` for a name that is not text, which is none of ours.
fn slashed(path: &Path) -> Option<String> {
    let names: Option<Vec<&str>> = path.iter().map(|name| name.to_str()).collect();
    names.map(|names| names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::one_object;
    use super::*;
    use crate::objects::{Address, Objects};

    #[tokio::test]
    async fn an_object_is_found_by_its_location_with_size_and_content() {
        let (_directory, objects, location) = one_object().await;
        let key = objects.key_of(&location).unwrap();
        assert_eq!(key, "2026/11/24/1-ab.wav");
        assert_eq!(objects.location_of(&key), Some(location));
        assert_eq!(objects.size_bytes(&key).await.unwrap(), Some(5));
        let digest = hex::encode(Sha256::digest(b"sound"));
        assert_eq!(objects.sha256(&key).await.unwrap(), Some(digest));
        assert_eq!(objects.size_bytes("2026/11/24/2-ab.wav").await.unwrap(), None);
        assert_eq!(objects.sha256("2026/11/24/2-ab.wav").await.unwrap(), None);
        for elsewhere in ["file:///elsewhere/1.wav", "s3://bucket/1.wav", "nonsense"] {
            assert_eq!(objects.key_of(elsewhere), None, "{elsewhere}");
        }
    }

    #[tokio::test]
    async fn a_listing_has_objects_and_directories_but_nothing_of_our_own() {
        let (_directory, objects, _location) = one_object().await;
        objects.set_aside("2026/11/24/none.wav").await.unwrap();
        let root = objects.list("").await.unwrap();
        assert_eq!((root.directories, root.objects.len()), (vec!["2026".to_owned()], 0));
        let day = objects.list("2026/11/24").await.unwrap();
        assert_eq!(
            day.objects.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(),
            ["2026/11/24/1-ab.wav"]
        );
        assert!(objects.list("2026/11/25").await.unwrap().objects.is_empty());
    }

    #[tokio::test]
    async fn what_is_set_aside_frees_its_name_and_stays() {
        let (directory, objects, _location) = one_object().await;
        objects.set_aside("2026/11/24/1-ab.wav").await.unwrap();
        assert_eq!(objects.size_bytes("2026/11/24/1-ab.wav").await.unwrap(), None);
        let aside = directory.path().join("with a space").join(SET_ASIDE).join("2026/11/24/1-ab.wav");
        assert_eq!(std::fs::read(aside).unwrap(), b"sound");
    }

    #[tokio::test]
    async fn a_missing_directory_is_not_created() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let opened = Objects::open_existing(&Address::File(missing.clone())).await;
        assert!(matches!(opened, Err(ObjectsError::Io(_))));
        assert!(!missing.exists());
    }
}
