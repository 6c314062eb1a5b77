//! The inventory of a backend: which objects there are, how large they are, and the hashes of their contents. Only
//! [`Objects::set_aside`] writes.

use std::time::SystemTime;

use super::file::Directory;
use super::{Address, Backend, Objects, ObjectsError, Space, blocking};

/// The directory below the root to which damaged objects are moved, so that their keys are free.
pub(super) const SET_ASIDE: &str = ".damaged";

/// One directory of a backend. Keys and directories are slash-separated, from the root.
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
    /// Its key, for the methods of [`Objects`].
    pub key: String,
    /// When it was written.
    pub modified: SystemTime,
}

impl Objects {
    /// Opens a backend that exists already; creates and removes nothing.
    ///
    /// # Errors
    /// [`ObjectsError::Io`] when there is no such directory, [`ObjectsError::S3`] when the bucket can't be read.
    pub async fn open_existing(address: &Address) -> Result<Self, ObjectsError> {
        match address.clone() {
            Address::File(root) => {
                blocking(move || {
                    let directory = Directory::open_existing(&root)?;
                    let staging = Space::new(&directory.staging(), 0);
                    Ok(Self { backend: Backend::File(directory), staging })
                })
                .await
            }
            Address::S3(bucket, scratch) => {
                bucket.ping().await?;
                Ok(Self { backend: Backend::S3(bucket), staging: Space::new(&scratch, 0) })
            }
        }
    }

    /// The key of the object at this location; `None` for a location outside this backend.
    #[must_use]
    pub fn key_of(&self, location: &str) -> Option<String> {
        match &self.backend {
            Backend::File(directory) => directory.key_of(location),
            Backend::S3(bucket) => bucket.key_of(location),
        }
    }

    /// The location of the object with this key, whether there is one or not.
    #[must_use]
    pub fn location_of(&self, key: &str) -> Option<String> {
        match &self.backend {
            Backend::File(directory) => directory.location_of(key),
            Backend::S3(bucket) => Some(bucket.location_of(key)),
        }
    }

    /// Bytes of the object with this key; `None`: there is none.
    ///
    /// # Errors
    /// [`ObjectsError`] when that can't be found out.
    pub async fn size_bytes(&self, key: &str) -> Result<Option<u64>, ObjectsError> {
        match &self.backend {
            Backend::File(directory) => directory.size_bytes(key).await,
            Backend::S3(bucket) => bucket.size_bytes(key).await,
        }
    }

    /// The SHA-256 of the object with this key, in lower-case hexadecimal; `None`: there is none.
    ///
    /// # Errors
    /// [`ObjectsError`] when it can't be read.
    pub async fn sha256(&self, key: &str) -> Result<Option<String>, ObjectsError> {
        match &self.backend {
            Backend::File(directory) => directory.sha256(key).await,
            Backend::S3(bucket) => bucket.sha256(key).await,
        }
    }

    /// Lists a directory, without the directories that Callvine has for itself. A missing directory is empty. The root
    /// is the empty name.
    ///
    /// # Errors
    /// [`ObjectsError`] when it can't be read.
    pub async fn list(&self, directory: &str) -> Result<Listing, ObjectsError> {
        match &self.backend {
            Backend::File(root) => root.list(directory).await,
            Backend::S3(bucket) => bucket.list(directory).await,
        }
    }

    /// Moves a damaged object to a directory for such, so that it can be written again. A missing one is no error.
    ///
    /// # Errors
    /// [`ObjectsError`] when it can't be moved.
    pub async fn set_aside(&self, key: &str) -> Result<(), ObjectsError> {
        match &self.backend {
            Backend::File(directory) => directory.set_aside(key).await,
            Backend::S3(bucket) => bucket.set_aside(key).await,
        }
    }
}
