//! A private S3-compatible store (moto's server, in Python), a bucket a test; it can be killed and started again, and
//! keeps nothing over that.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Method;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use crate::callvine::Callvine;
use crate::eventually::eventually;
use crate::http::http_client;
use crate::ports::free_port;
use crate::process::{Process, Signal, Start, new_directory};

/// Python and its libraries: two seconds on an idle machine.
const DEADLINE: Duration = Duration::from_secs(60);
/// To read half a gigabyte from Python on a busy machine.
const LARGE_TIMEOUT: Duration = Duration::from_secs(300);
/// Another process may take a port that was free a moment ago; three times in a row it is something else.
const START_ATTEMPTS: u32 = 3;

/// Moto lets somebody at an object who says that he is somebody, and doesn't check it.
const SIGNATURE: &str =
    "AWS4-HMAC-SHA256 Credential=id/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// One private store. Dropping it kills it.
pub struct S3 {
    directory: PathBuf,
    port: u16,
    server: Mutex<Option<Process>>,
    buckets: AtomicU32,
}

impl S3 {
    /// The store that the tests of one binary share; a test asks it for a [`S3::bucket`] of its own, and never stops
    /// it.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<S3> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// Starts a store of one's own.
    ///
    /// # Panics
    /// When it does not start, with its command line and log.
    pub async fn start() -> Self {
        let mut attempt = 1;
        loop {
            let store = Self {
                directory: new_directory("s3"),
                port: free_port(),
                server: Mutex::new(None),
                buckets: AtomicU32::new(0),
            };
            match store.launch().await {
                Ok(()) => return store,
                Err(failure) if attempt == START_ATTEMPTS => panic!("the S3 store does not start\n{failure}"),
                Err(_) => attempt += 1,
            }
        }
    }

    /// The name of a new, empty bucket.
    ///
    /// # Panics
    /// When it cannot be created.
    pub async fn bucket(&self) -> String {
        let name = format!("bucket-{}", self.buckets.fetch_add(1, Ordering::Relaxed));
        self.create(&name).await;
        name
    }

    /// Creates a bucket of this name.
    ///
    /// # Panics
    /// When it cannot be created.
    pub async fn create(&self, bucket: &str) {
        let answer = Self::ask(Method::PUT, self.url(bucket)).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    /// Its TCP port on 127.0.0.1, the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The variables that lead a program here, with another port where there is something before it.
    pub fn variables(port: u16) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT", format!("http://127.0.0.1:{port}")),
            ("AWS_ACCESS_KEY_ID", "callvine-test-id".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "callvine-test-secret".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// The process, keeping its recordings in this bucket, below `calls`.
    #[must_use]
    pub fn keeps(&self, bucket: &str, process: Callvine) -> Callvine {
        let process = process.env("CALLVINE_RECORDINGS_URL", format!("s3://{bucket}/calls"));
        Self::variables(self.port).iter().fold(process, |process, (name, value)| process.env(name, value))
    }

    /// Media type and content of an object; `None`: there is none.
    ///
    /// # Panics
    /// When the store doesn't answer.
    pub async fn object(&self, bucket: &str, key: &str) -> Option<(String, Vec<u8>)> {
        let answer = Self::ask(Method::GET, self.url(&format!("{bucket}/{key}")));
        let answer = answer.send().await.unwrap();
        if answer.status().as_u16() == 404 {
            return None;
        }
        let media_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
        Some((media_type, answer.bytes().await.unwrap().to_vec()))
    }

    /// Size and SHA-256 of an object, which may be larger than what one would hold in memory.
    ///
    /// # Panics
    /// When there is none, or the store doesn't answer.
    pub async fn digest(&self, bucket: &str, key: &str) -> (u64, String) {
        let asking = Self::ask(Method::GET, self.url(&format!("{bucket}/{key}"))).timeout(LARGE_TIMEOUT);
        let mut answer = asking.send().await.unwrap().error_for_status().unwrap();
        let (mut size_bytes, mut digest) = (0, Sha256::new());
        while let Some(chunk) = answer.chunk().await.unwrap() {
            size_bytes += chunk.len() as u64;
            digest.update(&chunk);
        }
        (size_bytes, hex::encode(digest.finalize()))
    }

    /// Writes an object, as somebody else would.
    ///
    /// # Panics
    /// When it cannot be written.
    pub async fn write(&self, bucket: &str, key: &str, content: &[u8]) {
        let url = self.url(&format!("{bucket}/{key}"));
        Self::ask(Method::PUT, url).body(content.to_vec()).send().await.unwrap().error_for_status().unwrap();
    }

    /// Removes an object, as somebody else would.
    ///
    /// # Panics
    /// When it cannot be removed.
    pub async fn remove(&self, bucket: &str, key: &str) {
        let url = self.url(&format!("{bucket}/{key}"));
        Self::ask(Method::DELETE, url).send().await.unwrap().error_for_status().unwrap();
    }

    /// The keys of all objects in a bucket, sorted.
    ///
    /// # Panics
    /// When the store doesn't answer.
    pub async fn keys(&self, bucket: &str) -> Vec<String> {
        self.elements(&format!("{bucket}?list-type=2"), "Key").await
    }

    /// The uploads that are begun and not finished, by id. Moto says of each that it began in 2010.
    ///
    /// # Panics
    /// When the store doesn't answer.
    pub async fn uploads(&self, bucket: &str) -> Vec<String> {
        self.elements(&format!("{bucket}?uploads"), "UploadId").await
    }

    /// Begins an upload, as a process does that dies then.
    ///
    /// # Panics
    /// When the store refuses.
    pub async fn begin_upload(&self, bucket: &str, key: &str) {
        let url = self.url(&format!("{bucket}/{key}?uploads"));
        Self::ask(Method::POST, url).send().await.unwrap().error_for_status().unwrap();
    }

    /// `SIGKILL`; all buckets are gone with it.
    ///
    /// # Panics
    /// When it isn't running.
    pub fn kill(&self) {
        self.server.lock().take().expect("the S3 store is running").kill();
    }

    /// Starts it again on the same port, with no bucket.
    ///
    /// # Panics
    /// When it does not start, with its command line and log.
    pub async fn restart(&self) {
        if let Err(failure) = self.launch().await {
            panic!("the S3 store does not start again\n{failure}");
        }
    }

    async fn launch(&self) -> Result<(), String> {
        let mut command = Command::new(program());
        command.args(["-H", "127.0.0.1", "-p", &self.port.to_string()]).current_dir(&self.directory);
        for name in ["PATH", "HOME"] {
            command.env(name, std::env::var_os(name).unwrap_or_default());
        }
        let log = self.directory.join("log");
        let start = Start { command, stdout: log.clone(), stderr: log, last_signal: Signal::KILL };
        let mut server = Process::start(&start);
        let mut is_up = false;
        eventually(DEADLINE, "the S3 store accepts connections", async || {
            is_up = TcpStream::connect(("127.0.0.1", self.port)).await.is_ok();
            is_up || server.exited().is_some()
        })
        .await;
        // Somebody else's listener on our port answers too: then the server ends by itself.
        if !is_up || server.exited().is_some() {
            return Err(server.account());
        }
        *self.server.lock() = Some(server);
        Ok(())
    }

    fn ask(method: Method, url: String) -> reqwest::RequestBuilder {
        http_client().request(method, url).header("Authorization", SIGNATURE)
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// The texts of all elements of this name in an answer.
    async fn elements(&self, path: &str, name: &str) -> Vec<String> {
        let text = Self::ask(Method::GET, self.url(path)).send().await.unwrap().text().await.unwrap();
        let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
        let found = text.split(&begin).skip(1).filter_map(|rest| rest.split(&end).next());
        let mut found: Vec<String> = found.map(str::to_owned).collect();
        found.sort();
        found
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        drop(self.server.get_mut().take());
        fs::remove_dir_all(&self.directory).ok();
    }
}

/// Where tests/setup.sh has put it, or the one on the search path.
fn program() -> PathBuf {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    let own = cache.map(|cache| cache.join("callvine-tests/moto/bin/moto_server"));
    own.filter(|own| own.exists()).unwrap_or_else(|| PathBuf::from("moto_server"))
}
