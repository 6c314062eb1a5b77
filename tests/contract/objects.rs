//! Objects in an S3-compatible store: whole or not there, never replaced, and nothing of them left behind.

use std::io::Write;
use std::path::Path;

use callvine_shared::objects::{Address, Objects, ObjectsError, S3Failure};
use harness::S3;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// More than fits one request, and no whole number of parts.
const LARGE: usize = 20 * 1024 * 1024 + 7;

const KEY: &str = "2026/11/24/1-ab.wav";

struct Place {
    objects: Objects,
    bucket: String,
    _scratch: tempfile::TempDir,
}

impl Place {
    async fn new(store: &S3, port: u16) -> Self {
        let bucket = store.bucket().await;
        let scratch = tempfile::tempdir().unwrap();
        let objects = open(&bucket, port, scratch.path()).await;
        Self { objects, bucket, _scratch: scratch }
    }

    async fn keep(&self, content: &[u8]) -> Result<String, ObjectsError> {
        let mut staged = tempfile::NamedTempFile::new_in(self.objects.staging()).unwrap();
        staged.write_all(content).unwrap();
        self.objects.keep(KEY, "audio/wav", staged).await
    }

    fn assert_nothing_staged(&self) {
        assert_eq!(std::fs::read_dir(self.objects.staging()).unwrap().count(), 0);
    }
}

async fn open(bucket: &str, port: u16, scratch: &Path) -> Objects {
    harness::http_client();
    let url = format!("s3://{bucket}/calls");
    let address = Address::parse(&url, scratch.to_owned(), &S3::variables(port)).unwrap();
    Objects::open(&address).await.unwrap()
}

fn large() -> Vec<u8> {
    (0..=250).cycle().take(LARGE).collect()
}

#[tokio::test]
async fn an_object_is_kept_read_listed_and_set_aside() {
    let store = S3::shared().await;
    let place = Place::new(store, store.port()).await;
    place.objects.ping().await.unwrap();
    for content in [b"sound".to_vec(), large()] {
        let location = place.keep(&content).await.unwrap();
        assert_eq!(location, format!("s3://{}/calls/{KEY}", place.bucket));
        place.assert_nothing_staged();
        assert_eq!(place.objects.key_of(&location).as_deref(), Some(KEY));
        assert_eq!(place.objects.location_of(KEY), Some(location));
        assert_eq!(place.objects.size_bytes(KEY).await.unwrap(), Some(content.len() as u64));
        let sha256 = hex::encode(Sha256::digest(&content));
        assert_eq!(place.objects.sha256(KEY).await.unwrap(), Some(sha256));
        let (media_type, stored) = store.object(&place.bucket, &format!("calls/{KEY}")).await.unwrap();
        assert_eq!(media_type, "audio/wav");
        assert!(stored == content, "byte for byte");
        assert!(store.uploads(&place.bucket).await.is_empty());

        let root = place.objects.list("").await.unwrap();
        assert_eq!((root.directories, root.objects.len()), (vec!["2026".to_owned()], 0));
        let day = place.objects.list("2026/11/24").await.unwrap();
        assert_eq!(day.objects.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), [KEY]);

        place.objects.set_aside(KEY).await.unwrap();
        place.objects.set_aside(KEY).await.unwrap();
        assert_eq!(store.keys(&place.bucket).await, [format!("calls/.damaged/{KEY}")]);
        assert_eq!(place.objects.size_bytes(KEY).await.unwrap(), None);
        assert_eq!(place.objects.sha256(KEY).await.unwrap(), None);
        assert!(place.objects.list("").await.unwrap().directories.is_empty());
    }
    assert_eq!(place.objects.key_of("s3://elsewhere/calls/1.wav"), None);
}

#[tokio::test]
async fn an_object_is_never_replaced() {
    let store = S3::shared().await;
    let place = Place::new(store, store.port()).await;
    place.keep(b"first").await.unwrap();
    place.keep(b"second").await.unwrap();
    place.keep(&large()).await.unwrap();
    let (_, stored) = store.object(&place.bucket, &format!("calls/{KEY}")).await.unwrap();
    assert_eq!(stored, b"first");
    assert!(store.uploads(&place.bucket).await.is_empty(), "nothing was begun that is there already");
}

#[tokio::test]
async fn a_large_object_that_fails_on_the_way_leaves_nothing() {
    let store = S3::shared().await;
    let place = Place::new(store, forbidding_the_second_part(store.port()).await).await;
    let failure = place.keep(&large()).await.unwrap_err();
    assert!(matches!(failure, ObjectsError::S3(S3Failure::Denied)), "{failure}");
    assert!(store.keys(&place.bucket).await.is_empty(), "no half of an object is to be seen");
    assert!(store.uploads(&place.bucket).await.is_empty(), "and none of its parts is kept");
    place.assert_nothing_staged();
}

#[tokio::test]
async fn uploads_that_dead_processes_have_left_are_swept_below_the_own_prefix_alone() {
    let store = S3::shared().await;
    let place = Place::new(store, store.port()).await;
    store.begin_upload(&place.bucket, &format!("calls/{KEY}")).await;
    store.begin_upload(&place.bucket, "others/x").await;
    assert_eq!(place.objects.sweep().await.unwrap(), 1);
    assert_eq!(store.uploads(&place.bucket).await.len(), 1);
    assert_eq!(place.objects.sweep().await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_wrong_with_a_store_is_said_without_its_address() {
    let store = S3::start().await;
    let place = Place::new(&store, store.port()).await;
    let scratch = tempfile::tempdir().unwrap();
    let nowhere = open("no-such-bucket", store.port(), scratch.path()).await;
    assert!(matches!(nowhere.ping().await, Err(ObjectsError::S3(S3Failure::Missing))));
    store.kill();
    for failure in [place.objects.ping().await.unwrap_err(), place.keep(b"sound").await.unwrap_err()] {
        assert!(matches!(failure, ObjectsError::S3(S3Failure::Unreachable)), "{failure:?}");
        assert!(!failure.to_string().contains("127.0.0.1"), "{failure}");
    }
    place.assert_nothing_staged();
}

/// A line to a store that answers 403 to the second part of any upload; returns its port.
async fn forbidding_the_second_part(store: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            // A line that breaks is the client's to notice.
            tokio::spawn(async move { forward(client, store).await.ok() });
        }
    });
    port
}

async fn forward(client: TcpStream, store: u16) -> std::io::Result<()> {
    let (mut from_store, mut to_store) = TcpStream::connect(("127.0.0.1", store)).await?.into_split();
    let (mut from_client, mut to_client) = client.into_split();
    let (is_forbidden, mut piece) = (tokio_util::sync::CancellationToken::new(), vec![0; 64 * 1024]);
    let requests = async {
        loop {
            let count = from_client.read(&mut piece).await?;
            let bytes = &piece[..count];
            if bytes.windows(13).any(|window| window == b"partNumber=2&") {
                is_forbidden.cancel();
                return std::future::pending().await;
            }
            if count == 0 {
                return to_store.shutdown().await;
            }
            to_store.write_all(bytes).await?;
        }
    };
    let answers = async {
        let answers = tokio::io::copy(&mut from_store, &mut to_client);
        if is_forbidden.run_until_cancelled(answers).await.is_none() {
            to_client
                .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await?;
            to_client.shutdown().await?;
        }
        std::io::Result::Ok(())
    };
    tokio::select! { result = requests => result, result = answers => result }
}
