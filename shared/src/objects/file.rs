//! Objects as files: each is written to a staging directory on the same file system, synced, and moved to its name.

mod inventory;
mod read;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::NamedTempFile;
use url::Url;

use super::{ObjectsError, blocking};

/// The directory below the root where objects are written before they have their name.
const STAGING: &str = ".staging";

/// The directory that keeps the objects, as a backend.
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

    /// The directory for staged files, on the same file system, so that a file is moved and not copied.
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
            // The name is part of the directory, which must be on disk too.
            sync_directory(path.parent())?;
            file_url(&path)
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

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use super::super::{Address, Objects};
    use super::*;

    pub(in super::super) async fn objects() -> (tempfile::TempDir, Objects) {
        let directory = tempfile::tempdir().unwrap();
        let objects = Objects::open(&Address::File(directory.path().join("with a space"))).await.unwrap();
        (directory, objects)
    }

    pub(in super::super) fn staged(objects: &Objects, content: &[u8]) -> NamedTempFile {
        let mut file = NamedTempFile::new_in(objects.staging()).unwrap();
        file.write_all(content).unwrap();
        file
    }

    pub(super) async fn one_object() -> (tempfile::TempDir, Objects, String) {
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
        assert!(path.ends_with("with a space/2026/11/24/1-ab.wav"), "{path:?}");
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
}
