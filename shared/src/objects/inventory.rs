//! Taking stock of the objects: what is there, how large it is, and what is in it. Nothing is written here but by
//! [`Objects::set_aside`].

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use url::Url;

use super::{Objects, ObjectsError, STAGING, blocking, root_of};

/// Below the root: where damaged objects are moved, so that their names are free.
const SET_ASIDE: &str = ".damaged";

/// Read at a time for hashing.
const PIECE_BYTES: usize = 64 * 1024;

/// One level of the place of objects. Keys and directories are slash-separated, from the root.
#[derive(Debug, Default)]
pub struct Listing {
    /// Its directories, sorted.
    pub directories: Vec<String>,
    /// Its objects.
    pub objects: Vec<ListedObject>,
}

/// An object that was found.
#[derive(Debug)]
pub struct ListedObject {
    /// By which it can be asked for.
    pub key: String,
    /// When it was written.
    pub modified: SystemTime,
}

impl Objects {
    /// Opens a place that exists already; creates and removes nothing.
    ///
    /// # Errors
    /// [`ObjectsError::Url`] when the URL can't be used, [`ObjectsError::Io`] when there is no such place.
    pub async fn open_existing(url: &str) -> Result<Self, ObjectsError> {
        let root = root_of(url)?;
        blocking(move || {
            let root = root.canonicalize()?;
            // Says "not a directory" where that is so.
            std::fs::read_dir(&root)?;
            Ok(Self { root: root.into() })
        })
        .await
    }

    /// The key of the object at this location, if that lies in this place.
    #[must_use]
    pub fn key_of(&self, location: &str) -> Option<String> {
        let path = Url::parse(location).ok()?.to_file_path().ok()?;
        slashed(path.strip_prefix(&*self.root).ok()?)
    }

    /// The URL of the object with this key, whether there is one or not.
    #[must_use]
    pub fn location_of(&self, key: &str) -> Option<String> {
        super::file_url(&self.root.join(key)).ok()
    }

    /// Bytes of the object with this key; `None`: there is none.
    ///
    /// # Errors
    /// [`ObjectsError::Io`] when that can't be found out.
    pub async fn size_bytes(&self, key: &str) -> Result<Option<u64>, ObjectsError> {
        let path = self.root.join(key);
        blocking(move || Ok(unless_missing(path.metadata())?.map(|metadata| metadata.len()))).await
    }

    /// The SHA-256 of the object with this key, in lower-case hexadecimal; `None`: there is none.
    ///
    /// # Errors
    /// [`ObjectsError::Io`] when it can't be read.
    pub async fn sha256(&self, key: &str) -> Result<Option<String>, ObjectsError> {
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

    /// What is in this directory, without what Callvine keeps there for itself; nothing, if there is no such
    /// directory. The root is the empty name.
    ///
    /// # Errors
    /// [`ObjectsError::Io`] when it can't be read.
    pub async fn list(&self, directory: &str) -> Result<Listing, ObjectsError> {
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

    /// Moves a damaged object out of the way, below a directory of its own, so that it can be written again. Nothing
    /// happens when there is none.
    ///
    /// # Errors
    /// [`ObjectsError::Io`] when it can't be moved.
    pub async fn set_aside(&self, key: &str) -> Result<(), ObjectsError> {
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
mod tests {
    use std::io::Write;

    use tempfile::NamedTempFile;

    use super::*;

    async fn one_object() -> (tempfile::TempDir, Objects, String) {
        let directory = tempfile::tempdir().unwrap();
        let url = Url::from_file_path(directory.path()).unwrap();
        let objects = Objects::open(url.as_str()).await.unwrap();
        let mut staged = NamedTempFile::new_in(objects.staging()).unwrap();
        staged.write_all(b"sound").unwrap();
        let location = objects.keep("2026/11/24/1-ab.wav", staged).await.unwrap();
        (directory, objects, location)
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
        let aside = directory.path().join(SET_ASIDE).join("2026/11/24/1-ab.wav");
        assert_eq!(std::fs::read(aside).unwrap(), b"sound");
    }

    #[tokio::test]
    async fn a_place_that_is_not_there_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let url = Url::from_file_path(&missing).unwrap();
        assert!(matches!(Objects::open_existing(url.as_str()).await, Err(ObjectsError::Io(_))));
        assert!(!missing.exists());
    }
}
