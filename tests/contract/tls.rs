//! TLS on both listeners, asked by curl: versions and protocols, new certificates, wrong files, and clients that don't speak it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use harness::{Authority, Callvine, PATIENCE, Running, TEST_KEY, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::http::call;

/// A certificate, its key and its authority, in files.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    authority: PathBuf,
}

impl Files {
    fn new() -> Self {
        let directory = harness::new_directory("tls");
        let path = |name: &str| directory.join(name);
        let files = Self {
            certificate: path("server.pem"),
            key: path("server.key"),
            authority: path("authority.pem"),
        };
        files.replace(&Authority::new(), &files.authority);
        files
    }

    /// Writes a new pair of this authority, whose own certificate goes to another file.
    fn replace(&self, authority: &Authority, authority_file: &Path) {
        let (certificate, key) = authority.pem_files("127.0.0.1");
        std::fs::write(authority_file, authority.pem()).unwrap();
        std::fs::write(&self.certificate, certificate).unwrap();
        std::fs::write(&self.key, key).unwrap();
    }

    fn of(&self, program: Callvine) -> Callvine {
        program.env("CALLVINE_TLS_CERT", &self.certificate).env("CALLVINE_TLS_KEY", &self.key)
    }

    async fn up(&self) -> Running {
        self.of(Callvine::new("up")).start().await
    }
}

/// Status and HTTP version as curl saw them; `Err`: its exit code.
async fn curl(authority: &Path, url: &str, arguments: &[&str]) -> Result<String, i32> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "60", "--output", "/dev/null"]);
    curl.args(["--write-out", "%{http_code} %{http_version}"]).arg("--cacert").arg(authority);
    let done = curl.args(arguments).arg(url).stdin(Stdio::null()).output().await.unwrap();
    match done.status.code().unwrap() {
        0 => Ok(String::from_utf8(done.stdout).unwrap()),
        code => Err(code),
    }
}

fn ok(seen: &str) -> Result<String, i32> {
    Ok(seen.to_owned())
}

#[tokio::test]
async fn both_listeners_speak_tls_with_either_protocol() {
    let files = Files::new();
    let mut process = files.up().await;
    let (public, admin) = (process.public().await, process.admin().await);
    assert!(public.starts_with("https://127.0.0.1:") && admin.starts_with("https://"), "{public} {admin}");
    let url = format!("{public}/webhook.php");
    let (key, body) = (format!("X-API-Key: {TEST_KEY}"), call(&serde_json::json!({})).to_string());
    for (protocol, seen) in [("--http1.1", "201 1.1"), ("--http2", "201 2")] {
        let post = curl(&files.authority, &url, &[protocol, "-H", &key, "-d", &body]).await;
        assert_eq!(post, ok(seen), "{protocol}");
    }
    for version in ["--tls-max=1.2", "--tlsv1.3"] {
        let (flag, value) =
            version.split_once('=').map_or((version, None), |(flag, value)| (flag, Some(value)));
        let arguments: Vec<&str> = std::iter::once(flag).chain(value).collect();
        let health = curl(&files.authority, &format!("{admin}/healthz"), &arguments).await;
        assert_eq!(health, ok("200 2"), "{version}");
    }
    // curl's 35: no handshake.
    let old = curl(&files.authority, &url, &["--tls-max", "1.1"]).await;
    assert_eq!(old, Err(35));
    process.stop().await.assert_code(0);
}

#[tokio::test]
async fn clients_that_speak_no_tls_are_left_and_hinder_nobody() {
    let files = Files::new();
    let mut process = files.up().await;
    let address = process.public_socket().await;
    // They say nothing, and keep their handshake waiting.
    let silent = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"POST /webhook.php HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, plain.read_to_end(&mut answer)).await;
    assert!(closed.is_ok() && !answer.starts_with(b"HTTP/"), "an alert at most: {answer:?}");
    let seen = curl(&files.authority, &format!("https://{address}/nowhere"), &[]).await;
    assert_eq!(seen, ok("404 2"));
    drop(silent);
    process.stop().await.assert_code(0);
}

#[tokio::test]
async fn a_new_certificate_counts_and_a_broken_one_does_not() {
    let files = Files::new();
    let mut process = files.up().await;
    let url = format!("{}/nowhere", process.public().await);
    assert_eq!(curl(&files.authority, &url, &[]).await, ok("404 2"));
    // One file of a pair is there before the other.
    let (half, _its_key) = Authority::new().pem_files("127.0.0.1");
    std::fs::write(&files.certificate, half).unwrap();
    eventually(PATIENCE, "the broken pair was seen", async || {
        process.stderr().contains("the new certificate can't be used")
    })
    .await;
    assert_eq!(curl(&files.authority, &url, &[]).await, ok("404 2"), "the last one stays");

    let another = files.authority.with_extension("another");
    files.replace(&Authority::new(), &another);
    eventually(PATIENCE, "the new certificate is shown", async || {
        curl(&another, &url, &[]).await == ok("404 2")
    })
    .await;
    // curl's 60: signed by an authority that it does not know.
    assert_eq!(curl(&files.authority, &url, &[]).await, Err(60));
    process.stop().await.assert_code(0);
}

#[tokio::test]
async fn files_that_can_not_be_used_end_the_start() {
    let files = Files::new();
    let (_, foreign) = Authority::new().pem_files("127.0.0.1");
    let path = |name: &str, text: &str| {
        let path = files.key.with_file_name(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (garbage, foreign) = (path("garbage", "no PEM"), path("foreign.key", &foreign));
    let missing = files.key.with_file_name("missing");
    for (certificate, key, named) in [
        (Some(&files.certificate), None, "CALLVINE_TLS_KEY"),
        (None, Some(&files.key), "CALLVINE_TLS_CERT"),
        (Some(&missing), Some(&files.key), "missing"),
        (Some(&garbage), Some(&files.key), "CALLVINE_TLS_CERT"),
        (Some(&files.key), Some(&files.key), "CALLVINE_TLS_CERT"),
        (Some(&files.certificate), Some(&garbage), "CALLVINE_TLS_KEY"),
        (Some(&files.certificate), Some(&foreign), "CALLVINE_TLS_KEY"),
    ] {
        let mut program = Callvine::new("up");
        for (name, path) in [("CALLVINE_TLS_CERT", certificate), ("CALLVINE_TLS_KEY", key)] {
            if let Some(path) = path {
                program = program.env(name, path);
            }
        }
        let finished = program.run().await;
        assert_eq!(finished.code(), Some(2), "{named}: {}", finished.stderr);
        assert!(finished.stderr.contains(named), "{named}: {}", finished.stderr);
    }
}
