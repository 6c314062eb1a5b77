//! Where recordings are kept: a directory, named by a `file://` URL.
//!
//! An object appears whole and on disk, or not at all, and is never replaced: it is written to a staging directory
//! beside its place, synced, and then linked to its name.

mod inventory;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;
use url::Url;

pub use inventory::{ListedObject, Listing};

/// Below the root: where objects are written before they have their name.
const STAGING: &str = ".staging";

/// A staged file that is older was left by a process that died: no fetch lasts as long (25 minutes at most).
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// A place for objects. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Objects {
    root: Arc<Path>,
}

impl Objects {
    /// Opens the place at `url`, a `file://` URL, and creates its directory when it is missing. Staged files that a
    /// process left when it died are removed.
    ///
    /// # Errors
    /// [`ObjectsError::Url`] when the URL can't be used, [`ObjectsError::Io`] when the directory can't.
    pub async fn open(url: &str) -> Result<Self, ObjectsError> {
        let root = root_of(url)?;
        blocking(move || {
            let staging = root.join(STAGING);
            std::fs::create_dir_all(&staging)?;
            let root = root.canonicalize()?;
            remove_abandoned(&root.join(STAGING))?;
            Ok(Self { root: root.into() })
        })
        .await
    }

    /// Checks that `url` names a place that [`Objects::open`] could open.
    ///
    /// # Errors
    /// [`ObjectsError::Url`] when it doesn't.
    pub fn check(url: &str) -> Result<(), ObjectsError> {
        root_of(url).map(drop)
    }

    /// Where to write a file that [`Objects::keep`] is to take: on the same file system.
    #[must_use]
    pub fn staging(&self) -> PathBuf {
        self.root.join(STAGING)
    }

    /// Keeps a staged file under `key`, slash-separated, and returns its URL. It is on disk when this returns.
    ///
    /// When there is an object with this key already, it stays as it is: keys contain the content's hash, so it is the
    /// same.
    ///
    /// # Errors
    /// [`ObjectsError::Io`] when it can't be written; nothing is kept then.
    pub async fn keep(&self, key: &str, staged: NamedTempFile) -> Result<String, ObjectsError> {
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

    /// Whether objects can be written.
    ///
    /// # Errors
    /// Why not.
    pub async fn ping(&self) -> Result<(), ObjectsError> {
        let staging = self.staging();
        blocking(move || {
            NamedTempFile::new_in(staging)?.close()?;
            Ok(())
        })
        .await
    }
}

fn root_of(url: &str) -> Result<PathBuf, ObjectsError> {
    let parsed = Url::parse(url).map_err(|_error| ObjectsError::Url)?;
    match parsed.scheme() {
        "file" => parsed.to_file_path().map_err(|()| ObjectsError::Url),
        _ => Err(ObjectsError::Url),
    }
}

fn remove_abandoned(staging: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(staging)? {
        let entry = entry?;
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        let age = age.and_then(|modified| SystemTime::now().duration_since(modified).ok());
        if age.is_some_and(|age| age > ABANDONED_AFTER) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
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

/// File operations block; they run beside the asynchronous threads.
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
    /// The address can't be used.
    #[error("CALLVINE_RECORDINGS_URL can't be used: it must be file:///absolute/path")]
    Url,
    /// The directory can't be read or written.
    #[error(
        "recordings can't be written (check CALLVINE_RECORDINGS_URL, the disk's free space and its permissions)"
    )]
    Io(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    async fn objects() -> (tempfile::TempDir, Objects) {
        let directory = tempfile::tempdir().unwrap();
        let url = Url::from_file_path(directory.path().join("a place")).unwrap();
        let objects = Objects::open(url.as_str()).await.unwrap();
        (directory, objects)
    }

    fn staged(objects: &Objects, content: &[u8]) -> NamedTempFile {
        let mut file = NamedTempFile::new_in(objects.staging()).unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[tokio::test]
    async fn an_object_is_kept_under_its_url_and_nothing_stays_behind() {
        let (_directory, objects) = objects().await;
        let location = objects.keep("2026/11/24/1-ab.wav", staged(&objects, b"sound")).await.unwrap();
        let path = Url::parse(&location).unwrap().to_file_path().unwrap();
        assert!(path.ends_with("a place/2026/11/24/1-ab.wav"), "{path:?}");
        assert_eq!(std::fs::read(path).unwrap(), b"sound");
        assert_eq!(std::fs::read_dir(objects.staging()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn an_object_is_never_replaced() {
        let (_directory, objects) = objects().await;
        let first = objects.keep("k.wav", staged(&objects, b"first")).await.unwrap();
        let second = objects.keep("k.wav", staged(&objects, b"second")).await.unwrap();
        assert_eq!(first, second);
        assert_eq!(std::fs::read(Url::parse(&first).unwrap().to_file_path().unwrap()).unwrap(), b"first");
        assert_eq!(std::fs::read_dir(objects.staging()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_a_dead_process_left_is_removed_and_what_a_living_one_writes_is_not() {
        let (directory, objects) = objects().await;
        let old = objects.staging().join("old");
        let file = File::create(&old).unwrap();
        file.set_modified(SystemTime::now() - ABANDONED_AFTER - Duration::from_secs(1)).unwrap();
        let living = staged(&objects, b"x");
        Objects::open(Url::from_file_path(directory.path().join("a place")).unwrap().as_str()).await.unwrap();
        assert!(!old.exists());
        assert!(living.path().exists());
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_written_is_reported() {
        let (_directory, objects) = objects().await;
        objects.ping().await.unwrap();
        std::fs::remove_dir_all(objects.staging()).unwrap();
        assert!(matches!(objects.ping().await, Err(ObjectsError::Io(_))));
    }

    #[test]
    fn other_urls_are_refused() {
        for url in ["", "/absolute", "http://host/x", "s3:", "file://host/share"] {
            assert!(matches!(Objects::check(url), Err(ObjectsError::Url)), "{url}");
        }
    }
}
