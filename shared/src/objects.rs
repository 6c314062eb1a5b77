//! The objects that Callvine keeps, its recordings, in one of two backends: a directory (`file://`) or a bucket of an
//! S3-compatible store (`s3://`).
//!
//! An object appears whole and durable, or not at all. Its key contains the hash of its content, so two writers of one
//! key write the same. A recording is staged in a local file first, since only proven recordings are kept.

mod file;
mod inventory;
mod read;
mod s3;
mod space;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;
use url::Url;

use self::file::Directory;
pub use self::inventory::{ListedObject, Listing};
pub use self::read::{OpenObject, Pieces};
use self::s3::Bucket;
pub use self::s3::S3Failure;
pub use self::space::Space;

/// An older staged file was left by a process that died, since a fetch takes 25 minutes at most.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// A backend that can be opened: its URL and settings make sense.
#[derive(Clone)]
pub enum Address {
    /// A directory.
    File(PathBuf),
    /// A bucket, and a local directory for staged files.
    S3(Bucket, PathBuf),
}

/// An open backend. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Objects {
    backend: Backend,
    staging: Space,
}

#[derive(Clone, Debug)]
enum Backend {
    File(Directory),
    S3(Bucket),
}

impl Address {
    /// The backend at `url`, `file:///absolute/path` or `s3://bucket/prefix`. `aws` are the `AWS_*` variables, by name.
    /// Objects for a bucket are staged in `scratch`.
    ///
    /// # Errors
    /// [`ObjectsError::Url`] or [`ObjectsError::Setting`] when one of them can't be used.
    pub fn parse(url: &str, scratch: PathBuf, aws: &[(String, String)]) -> Result<Self, ObjectsError> {
        let url = Url::parse(url).map_err(|_error| ObjectsError::Url)?;
        match url.scheme() {
            "file" => url.to_file_path().map(Self::File).map_err(|()| ObjectsError::Url),
            "s3" => Ok(Self::S3(Bucket::new(&url, aws)?, scratch)),
            _ => Err(ObjectsError::Url),
        }
    }
}

impl Objects {
    /// Opens the backend, and creates its directory when it is missing. Sends nothing to an S3 store.
    ///
    /// # Errors
    /// [`ObjectsError::Io`] when the directory can't be used.
    pub async fn open(address: &Address) -> Result<Self, ObjectsError> {
        let address = address.clone();
        blocking(move || {
            let (backend, staging) = match address {
                Address::File(root) => {
                    let directory = Directory::create(&root)?;
                    let staging = directory.staging();
                    (Backend::File(directory), staging)
                }
                Address::S3(bucket, scratch) => (Backend::S3(bucket), scratch),
            };
            std::fs::create_dir_all(&staging)?;
            Ok(Self { backend, staging: Space::new(&staging, 0) })
        })
        .await
    }

    /// Keeps so many bytes of the staging directory's disk free of recordings: it stages and keeps none that would take them.
    #[must_use]
    pub fn with_reserve(self, bytes: u64) -> Self {
        Self { staging: Space::new(self.staging.directory(), bytes), ..self }
    }

    /// The directory for files that [`Objects::keep`] will take.
    #[must_use]
    pub fn staging(&self) -> &Path {
        self.staging.directory()
    }

    /// The disk on which files are staged.
    #[must_use]
    pub const fn space(&self) -> &Space {
        &self.staging
    }

    /// Keeps a staged file under `key`, slash-separated, and returns its location, a URL. It is durable then.
    ///
    /// An object that has this key already stays as it is. When the future is dropped, the object is kept or it isn't;
    /// parts that an S3 store has of it are swept later.
    ///
    /// # Errors
    /// [`ObjectsError`] when it can't be written; then no object appears.
    pub async fn keep(
        &self,
        key: &str,
        media_type: &str,
        staged: NamedTempFile,
    ) -> Result<String, ObjectsError> {
        let staging = self.staging.clone();
        blocking(move || staging.check(0)).await?;
        match &self.backend {
            Backend::File(directory) => directory.keep(key, staged).await,
            Backend::S3(bucket) => bucket.keep(key, media_type, staged).await,
        }
    }

    /// Checks that objects can be written, as far as that can be told without writing one. They can't while the disk is at its reserve.
    ///
    /// # Errors
    /// [`ObjectsError`] says why not.
    pub async fn ping(&self) -> Result<(), ObjectsError> {
        let staging = self.staging.clone();
        blocking(move || {
            NamedTempFile::new_in(staging.directory())?.close()?;
            staging.check(0)
        })
        .await?;
        match &self.backend {
            Backend::File(_) => Ok(()),
            Backend::S3(bucket) => bucket.ping().await,
        }
    }

    /// Removes the leftovers of processes that died: staged files after an hour, unfinished uploads to a bucket after a
    /// day. Returns how many there were. Other processes may use the backend meanwhile.
    ///
    /// # Errors
    /// [`ObjectsError`] when the leftovers can't be listed.
    pub async fn sweep(&self) -> Result<usize, ObjectsError> {
        let staging = self.staging.clone();
        let files = blocking(move || Ok(remove_abandoned(staging.directory())?)).await?;
        match &self.backend {
            Backend::File(_) => Ok(files),
            Backend::S3(bucket) => Ok(files + bucket.abort_abandoned(SystemTime::now()).await?),
        }
    }
}

/// A file that can't be removed is left to the next sweep: it takes disk space and does no other harm.
fn remove_abandoned(staging: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for entry in std::fs::read_dir(staging)? {
        let entry = entry?;
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        let age = age.and_then(|modified| SystemTime::now().duration_since(modified).ok());
        if age.is_some_and(|age| age > ABANDONED_AFTER) {
            match std::fs::remove_file(entry.path()) {
                Ok(()) => removed += 1,
                Err(error) => tracing::warn!(%error, "cannot remove a staged file of a process that died"),
            }
        }
    }
    Ok(removed)
}

/// Runs file operations, which block, beside the asynchronous threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ObjectsError> + Send + 'static,
) -> Result<T, ObjectsError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panicked) => Err(ObjectsError::Io(io::Error::other(panicked))),
    }
}

/// A failed operation on objects.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// The URL can't be used.
    #[error(
        "CALLVINE_RECORDINGS_URL can't be used: it must be file:///absolute/path or s3://bucket/prefix (the prefix of \
         letters, digits and - _ . /)"
    )]
    Url,
    /// A setting of the S3 store can't be used.
    #[error("{0}")]
    Setting(&'static str),
    /// The directory can't be read or written.
    #[error(
        "recordings can't be written (check CALLVINE_RECORDINGS_URL, the disk's free space and its permissions)"
    )]
    Io(#[from] io::Error),
    /// Recordings would take the reserve of the disk.
    #[error("too little disk space is free (free some, or lower CALLVINE_MIN_FREE)")]
    Reserve,
    /// There is no such object.
    #[error("the recording is not where it was kept (see `callvine audit`)")]
    Missing,
    /// The S3 store can't do it.
    #[error(transparent)]
    S3(#[from] S3Failure),
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[tokio::test]
    async fn what_a_dead_process_left_is_swept_and_what_a_living_one_writes_is_not() {
        let (_directory, objects) = file::tests::objects().await;
        let old = objects.staging().join("old");
        let file = File::create(&old).unwrap();
        file.set_modified(SystemTime::now() - ABANDONED_AFTER - Duration::from_secs(1)).unwrap();
        let living = file::tests::staged(&objects, b"x");
        assert_eq!(objects.sweep().await.unwrap(), 1);
        assert!(!old.exists());
        assert!(living.path().exists());
    }

    #[tokio::test]
    async fn a_disk_at_its_reserve_takes_no_objects() {
        let (_directory, objects) = file::tests::objects().await;
        let objects = objects.with_reserve(u64::MAX);
        assert!(matches!(objects.ping().await, Err(ObjectsError::Reserve)));
        let kept = objects.keep("a", "audio/wav", file::tests::staged(&objects, b"x")).await;
        assert!(matches!(kept, Err(ObjectsError::Reserve)));
        assert_eq!(std::fs::read_dir(objects.staging()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_written_is_reported() {
        let (_directory, objects) = file::tests::objects().await;
        objects.ping().await.unwrap();
        std::fs::remove_dir_all(objects.staging()).unwrap();
        assert!(matches!(objects.ping().await, Err(ObjectsError::Io(_))));
    }

    #[test]
    fn other_urls_are_refused() {
        for url in ["", "/absolute", "http://host/x", "s3:", "s3:///x", "s3://b/a b", "file://host/share"] {
            let parsed = Address::parse(url, PathBuf::new(), &[]);
            assert!(matches!(parsed, Err(ObjectsError::Url)), "{url}");
        }
    }
}
