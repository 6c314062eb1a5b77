//! Taking stock of the objects: what is there, how large it is, and what is in it. Nothing is written here but by
//! [`Objects::set_aside`].

use std::time::SystemTime;

use super::file::Directory;
use super::{Address, Objects, ObjectsError, Place, Space, blocking};

/// Below the root: where damaged objects are moved, so that their names are free.
pub(super) const SET_ASIDE: &str = ".damaged";

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
    /// [`ObjectsError::Io`] when there is no such directory, [`ObjectsError::S3`] when the bucket can't be read.
    pub async fn open_existing(address: &Address) -> Result<Self, ObjectsError> {
        match address.clone() {
            Address::File(root) => {
                blocking(move || {
                    let directory = Directory::open_existing(&root)?;
                    let staging = Space::new(&directory.staging(), 0);
                    Ok(Self { place: Place::File(directory), staging })
                })
                .await
            }
            Address::S3(bucket, scratch) => {
                bucket.ping().await?;
                Ok(Self { place: Place::S3(bucket), staging: Space::new(&scratch, 0) })
            }
        }
    }

    /// The key of the object at this location, if that lies in this place.
    #[must_use]
    pub fn key_of(&self, location: &str) -> Option<String> {
        match &self.place {
            Place::File(directory) => directory.key_of(location),
            Place::S3(bucket) => bucket.key_of(location),
        }
    }

    /// The URL of the object with this key, whether there is one or not.
    #[must_use]
    pub fn location_of(&self, key: &str) -> Option<String> {
        match &self.place {
            Place::File(directory) => directory.location_of(key),
            Place::S3(bucket) => Some(bucket.location_of(key)),
        }
    }

    /// Bytes of the object with this key; `None`: there is none.
    ///
    /// # Errors
    /// [`ObjectsError`] when that can't be found out.
    pub async fn size_bytes(&self, key: &str) -> Result<Option<u64>, ObjectsError> {
        match &self.place {
            Place::File(directory) => directory.size_bytes(key).await,
            Place::S3(bucket) => bucket.size_bytes(key).await,
        }
    }

    /// The SHA-256 of the object with this key, in lower-case hexadecimal; `None`: there is none.
    ///
    /// # Errors
    /// [`ObjectsError`] when it can't be read.
    pub async fn sha256(&self, key: &str) -> Result<Option<String>, ObjectsError> {
        match &self.place {
            Place::File(directory) => directory.sha256(key).await,
            Place::S3(bucket) => bucket.sha256(key).await,
        }
    }

    /// What is in this directory, without what Callvine keeps there for itself; nothing, if there is no such
    /// directory. The root is the empty name.
    ///
    /// # Errors
    /// [`ObjectsError`] when it can't be read.
    pub async fn list(&self, directory: &str) -> Result<Listing, ObjectsError> {
        match &self.place {
            Place::File(place) => place.list(directory).await,
            Place::S3(bucket) => bucket.list(directory).await,
        }
    }

    /// Moves a damaged object out of the way, below a directory of its own, so that it can be written again. Nothing
    /// happens when there is none.
    ///
    /// # Errors
    /// [`ObjectsError`] when it can't be moved.
    pub async fn set_aside(&self, key: &str) -> Result<(), ObjectsError> {
        match &self.place {
            Place::File(directory) => directory.set_aside(key).await,
            Place::S3(bucket) => bucket.set_aside(key).await,
        }
    }
}
