//! The listeners through TLS: who gets through, and who does not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use harness::{
    Authority, Callvine, PATIENCE, Running, Signal, TEST_KEY, Validity, eventually, new_directory, run,
};
use reqwest::{Certificate, Client, Version};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::http::{builder, call};

/// The address that the listeners have, and that their certificates are for.
const HOST: &str = "127.0.0.1";

/// `callvine up` whose listeners speak TLS, with files of an authority that only these tests trust.
pub(crate) struct Secure {
    pub(crate) process: Running,
    pub(crate) url: String,
    pub(crate) authority: Authority,
    pub(crate) files: [PathBuf; 2],
}

impl Secure {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(environment: &[(&str, &str)]) -> Self {
        let directory = new_directory("tls");
        let files = [directory.join("cert.pem"), directory.join("key.pem")];
        let authority = Authority::new();
        for (file, pem) in files.iter().zip(authority.files(HOST, Validity::Now)) {
            std::fs::write(file, pem).unwrap();
        }
        Self::start_on(authority, files, environment).await
    }

    pub(crate) async fn start_on(
        authority: Authority,
        files: [PathBuf; 2],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut program = Callvine::new("up");
        for (name, value) in environment {
            program = program.env(name, value);
        }
        let [certificate, key] = &files;
        let program = program.env("CALLVINE_TLS_CERT", certificate).env("CALLVINE_TLS_KEY", key);
        let mut process = program.start().await;
        let url = process.public().await;
        Self { process, url, authority, files }
    }

    /// A client that trusts the authority alone.
    fn client(&self, adapt: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> Client {
        let root = Certificate::from_pem(self.authority.pem().as_bytes()).unwrap();
        adapt(builder().tls_certs_only([root])).build().unwrap()
    }

    async fn post(&self, client: &Client) -> reqwest::Response {
        let request = client.post(format!("{}/webhook", self.url)).header("X-API-Key", TEST_KEY);
        request.body(call(&json!({})).to_string()).send().await.unwrap()
    }

    async fn tcp(&mut self) -> TcpStream {
        TcpStream::connect(self.process.public_socket().await).await.unwrap()
    }

    /// A connection of a client that trusts this authority alone; `None`: that one did not certify the listener.
    pub(crate) async fn connect(&mut self, trusted: &Authority) -> Option<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(trusted.pem().as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = self.tcp().await;
        let name = ServerName::try_from(HOST).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()
    }
}

/// A post in HTTP/1.1, and where its body begins.
fn post() -> (String, usize) {
    let body = call(&json!({})).to_string();
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: {HOST}\r\nX-API-Key: {TEST_KEY}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    (format!("{head}{body}"), head.len())
}

/// The status of an answer with a JSON object in an object, of which everything is read.
pub(crate) async fn exchange(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(post().0.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    while !received.ends_with(b"}}") {
        assert!(stream.read_buf(&mut received).await.unwrap() > 0, "closed within an answer");
    }
    String::from_utf8(received).unwrap()
}

/// Everything that the server sends until it closes.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut received)).await.expect("the server hangs up");
    if let Err(error) = read {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    received
}

/// Status and HTTP version of the answer to curl, which has a TLS of its own.
async fn curl(authority: &Path, url: &str, arguments: &[&str]) -> String {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "60", "--output", "/dev/null"]);
    curl.args(["--write-out", "%{http_code} %{http_version}"]).arg("--cacert").arg(authority);
    curl.args(arguments).arg(url);
    run(curl).await
}

#[tokio::test]
async fn both_listeners_speak_http_of_both_versions_through_tls() {
    let mut secure = Secure::start().await;
    let admin = secure.process.admin().await;
    assert!(
        secure.url.starts_with("https://") && admin.starts_with("https://"),
        "{}",
        secure.process.stdout()
    );
    for (client, version) in [
        (secure.client(|client| client), Version::HTTP_2),
        (secure.client(reqwest::ClientBuilder::http1_only), Version::HTTP_11),
    ] {
        let answer = secure.post(&client).await;
        assert_eq!((answer.status().as_u16(), answer.version()), (201, version));
        let answer = client.get(format!("{admin}/healthz")).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
    }
    let authority = secure.files[0].with_file_name("authority.pem");
    std::fs::write(&authority, secure.authority.pem()).unwrap();
    let (url, key, body) =
        (format!("{}/webhook", secure.url), format!("X-API-Key: {TEST_KEY}"), call(&json!({})).to_string());
    for (arguments, version) in [
        (&["--http1.1"][..], "1.1"),
        (&["--http2"], "2"),
        (&["--http2", "--tls-max", "1.2"], "2"),
        (&["--http2", "--tlsv1.3"], "2"),
    ] {
        let post = [arguments, &["-H", &key, "-d", &body]].concat();
        assert_eq!(curl(&authority, &url, &post).await, format!("201 {version}"), "{arguments:?}");
        let health = curl(&authority, &format!("{admin}/healthz"), arguments).await;
        assert_eq!(health, format!("200 {version}"), "{arguments:?}");
    }
    // The authority is one that others don't trust.
    let stranger = builder().tls_certs_only([]).build().unwrap();
    assert!(stranger.get(format!("{}/", secure.url)).send().await.is_err());
}

/// The greeting of a client (RFC 5246, section 7.4.1.2) that knows TLS 1.0 (1), 1.1 (2) or 1.2 (3) at the most, and what
/// else is needed for an agreement.
fn greeting(minor: u8) -> Vec<u8> {
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    // No session; ECDHE with ECDSA and AES, by GCM or CBC; no compression.
    hello.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x09, 1, 0]);
    // Curves, the form of their points, and signatures.
    let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 4, 0, 2, 4, 3];
    hello.extend([0, u8::try_from(extensions.len()).unwrap()]);
    hello.extend(extensions);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    record
}

#[tokio::test]
async fn those_who_speak_no_tls_or_an_old_one_are_turned_away_at_once() {
    let mut secure = Secure::start().await;
    let plain = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").into_bytes();
    for sent in [plain, vec![0; 100], greeting(1)] {
        let mut stream = secure.tcp().await;
        stream.write_all(&sent).await.unwrap();
        let received = rest(&mut stream).await;
        // At most an alert.
        assert!(received.is_empty() || received[0] == 21, "{received:?}");
    }
    // The alert `protocol_version` (RFC 8446, section 6.2) for all before TLS 1.2, whose greeting is answered.
    for (minor, expected) in [(1, [21, 70]), (2, [21, 70]), (3, [22, 0])] {
        let mut stream = secure.tcp().await;
        stream.write_all(&greeting(minor)).await.unwrap();
        let mut received = [0; 7];
        timeout(PATIENCE, stream.read_exact(&mut received)).await.unwrap().unwrap();
        let [record, .., last] = received;
        assert_eq!(record, expected[0], "{received:?}");
        assert!(record == 22 || last == expected[1], "{received:?}");
    }
    let client = secure.client(|client| client);
    assert_eq!(secure.post(&client).await.status(), 201);
}

/// Goal: clients that begin a handshake and stop keep nobody out. Method: more of them than the listener holds, and a few
/// that nobody turns out.
#[tokio::test]
async fn clients_that_stall_in_their_handshake_hold_nobody_up_and_are_let_go() {
    let mut secure = Secure::start_with(&[("CALLVINE_MAX_CONNECTIONS", "20")]).await;
    let mut stalled = Vec::new();
    for beginning in [&[][..], &[22, 3, 1], &[22, 3, 1, 2, 0, 1]].into_iter().cycle().take(60) {
        let mut stream = secure.tcp().await;
        // It may have been turned out already.
        stream.write_all(beginning).await.ok();
        stalled.push(stream);
    }
    let client = secure.client(|client| client);
    assert_eq!(secure.post(&client).await.status(), 201);
    for mut stream in stalled {
        assert_eq!(rest(&mut stream).await, b"");
    }
}

#[tokio::test]
async fn a_termination_lets_requests_through_tls_finish_and_says_farewell() {
    let mut secure = Secure::start().await;
    let trusted = Authority::new();
    assert!(secure.connect(&trusted).await.is_none(), "anybody may have certified the listener");
    let trusted = std::mem::replace(&mut secure.authority, trusted);
    let mut idle = secure.connect(&trusted).await.unwrap();
    assert!(exchange(&mut idle).await.starts_with("HTTP/1.1 201 "));
    let mut busy = secure.connect(&trusted).await.unwrap();
    let (request, body_at) = post();
    let (begun, rest_of_body) = request.split_at(body_at + 5);
    busy.write_all(begun.as_bytes()).await.unwrap();
    secure.process.signal(Signal::TERM);
    // Reading ends without an error only after the farewell of TLS (RFC 8446, section 6.1).
    let mut nothing = Vec::new();
    timeout(PATIENCE, idle.read_to_end(&mut nothing)).await.unwrap().unwrap();
    assert_eq!(nothing, b"");
    busy.write_all(rest_of_body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, busy.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 ") && answer.contains("connection: close\r\n"), "{answer}");
    drop((busy, idle));
    secure.process.wait().await.assert_code(0);
}

#[tokio::test]
async fn only_trusted_proxies_are_believed_about_their_clients() {
    for (trusted, forwarded, expected) in [
        ("", "198.51.100.7", "127.0.0.1"),
        ("10.0.0.0/8", "198.51.100.7", "127.0.0.1"),
        ("10.0.0.0/8,127.0.0.0/8", "203.0.113.1, 198.51.100.7, 10.1.1.1", "198.51.100.7"),
    ] {
        let up = crate::http::Up::start_with(&[("CALLVINE_TRUSTED_PROXIES", trusted)]).await;
        let headers = [("X-API-Key", "wrong"), ("X-Forwarded-For", forwarded)];
        let answer = up.send(reqwest::Method::POST, "/webhook", &headers, "{}").await;
        assert_eq!(answer.status, 401);
        let line = |log: &str| log.lines().find(|line| line.contains("client.address")).map(str::to_owned);
        eventually(PATIENCE, "the refusal is logged", async || line(&up.process.stderr()).is_some()).await;
        let line = line(&up.process.stderr()).unwrap();
        let told: BTreeSet<&str> = line.split_whitespace().collect();
        assert!(told.contains(format!("client.address={expected}").as_str()), "{trusted:?}: {line}");
    }
}
