//! Objects as files: written to a staging directory beside their place, synced, and then linked to their name.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use url::Url;

use super::inventory::{ListedObject, Listing, SET_ASIDE};
use super::{ObjectsError, blocking};

/// Below the root: where objects are written before they have their name.
const STAGING: &str = ".staging";

/// Read at a time for hashing.
const PIECE_BYTES: usize = 64 * 1024;

/// The place.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    root: Arc<Path>,
}

impl Directory {
    /// Creates it when it is missing. Blocks.
    pub(super) fn create(root: &Path) -> Result<Self, ObjectsError> {
        std::fs::create_dir_all(root.join(STAGING))?;
        Ok(Self { root: root.canonicalize()?.into() })
    }

    /// Opens it if it is there. Blocks.
    pub(super) fn open_existing(root: &Path) -> Result<Self, ObjectsError> {
        let root = root.canonicalize()?;
        // Says "not a directory" where that is so.
        std::fs::read_dir(&root)?;
        Ok(Self { root: root.into() })
    }

    /// On the same file system.
    pub(super) fn staging(&self) -> PathBuf {
        self.root.join(STAGING)
    }

    pub(super) async fn keep(&self, key: &str, staged: NamedTempFile) -> Result<String, ObjectsError> {
        let path = self.root.join(key);
        blocking(move || {
            staged.as_file().sync_all()?;
            create_directories(&path)?;
            match staged.persist_noclobber(&path) {
                Ok(_file) => {}
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.error.into()),
            }
            // The name is part of the directory, which has to be on disk too.
            sync_directory(path.parent())?;
            file_url(&path)
        })
        .await
    }

    pub(super) fn key_of(&self, location: &str) -> Option<String> {
        let path = Url::parse(location).ok()?.to_file_path().ok()?;
        slashed(path.strip_prefix(&*self.root).ok()?)
    }

    pub(super) fn location_of(&self, key: &str) -> Option<String> {
        file_url(&self.root.join(key)).ok()
    }

    pub(super) async fn size_bytes(&self, key: &str) -> Result<Option<u64>, ObjectsError> {
        let path = self.root.join(key);
        blocking(move || Ok(unless_missing(path.metadata())?.map(|metadata| metadata.len()))).await
    }

    pub(super) async fn sha256(&self, key: &str) -> Result<Option<String>, ObjectsError> {
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

    pub(super) async fn list(&self, directory: &str) -> Result<Listing, ObjectsError> {
        let (root, path) = (self.root.clone(), self.root.join(directory));
        blocking(move || {
            let mut listing = Listing::default();
            let Some(entries) = unless_missing(std::fs::read_dir(&path))? else { return Ok(listing) };
            for entry in entries {
                let entry = entry?;
                let path = entry.path();
                let Some(key) = path.strip_prefix(&root).ok().and_then(slashed) else { continue };
                // Removed since it was listed: it is not there.
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

    pub(super) async fn set_aside(&self, key: &str) -> Result<(), ObjectsError> {
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

/// Creates the directories above `path`, and syncs each one's parent, where the new name is.
fn create_directories(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().skip(1).take_while(|directory| !directory.exists()).collect();
    for directory in missing.into_iter().rev() {
        match std::fs::create_dir(directory) {
            Ok(()) => sync_directory(directory.parent())?,
            // Another worker was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn sync_directory(directory: Option<&Path>) -> io::Result<()> {
    directory.map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn file_url(path: &Path) -> Result<String, ObjectsError> {
    Url::from_file_path(path).map(String::from).map_err(|()| ObjectsError::Url)
}

fn unless_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// `None` for names that aren't ours, since they aren't text.
fn slashed(path: &Path) -> Option<String> {
    let names: Option<Vec<&str>> = path.iter().map(|name| name.to_str()).collect();
    names.map(|names| names.join("/"))
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use super::super::{Address, Objects};
    use super::*;

    pub(in super::super) async fn objects() -> (tempfile::TempDir, Objects) {
        let directory = tempfile::tempdir().unwrap();
        let objects = Objects::open(&Address::File(directory.path().join("a place"))).await.unwrap();
        (directory, objects)
    }

    pub(in super::super) fn staged(objects: &Objects, content: &[u8]) -> NamedTempFile {
        let mut file = NamedTempFile::new_in(objects.staging()).unwrap();
        file.write_all(content).unwrap();
        file
    }

    async fn one_object() -> (tempfile::TempDir, Objects, String) {
        let (directory, objects) = objects().await;
        let location = keep(&objects, "2026/11/24/1-ab.wav", b"sound").await;
        (directory, objects, location)
    }

    async fn keep(objects: &Objects, key: &str, content: &[u8]) -> String {
        objects.keep(key, "audio/wav", staged(objects, content)).await.unwrap()
    }

    #[tokio::test]
    async fn an_object_is_kept_under_its_url_and_nothing_stays_behind() {
        let (_directory, objects, location) = one_object().await;
        let path = Url::parse(&location).unwrap().to_file_path().unwrap();
        assert!(path.ends_with("a place/2026/11/24/1-ab.wav"), "{path:?}");
        assert_eq!(std::fs::read(path).unwrap(), b"sound");
        assert_eq!(std::fs::read_dir(objects.staging()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn an_object_is_never_replaced() {
        let (_directory, objects) = objects().await;
        let first = keep(&objects, "k.wav", b"first").await;
        let second = keep(&objects, "k.wav", b"second").await;
        assert_eq!(first, second);
        assert_eq!(std::fs::read(Url::parse(&first).unwrap().to_file_path().unwrap()).unwrap(), b"first");
        assert_eq!(std::fs::read_dir(objects.staging()).unwrap().count(), 0);
    }

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
        let aside = directory.path().join("a place").join(SET_ASIDE).join("2026/11/24/1-ab.wav");
        assert_eq!(std::fs::read(aside).unwrap(), b"sound");
    }

    #[tokio::test]
    async fn a_place_that_is_not_there_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let opened = Objects::open_existing(&Address::File(missing.clone())).await;
        assert!(matches!(opened, Err(ObjectsError::Io(_))));
        assert!(!missing.exists());
    }
}
