//! Fetches from a real host on loopback, which misbehaves in every way that recordings' hosts do.

use std::path::Path;

use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::origin::{Origin, Step, answer, found, ok};
use super::*;
use crate::recording::failure::Retry;

mod answers;
mod keep_alive;
mod resume;
mod trust;

fn settings() -> FetchSettings {
    FetchSettings {
        bytes_max: 1 << 20,
        timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(5),
        backoff: Duration::from_secs(5),
        per_host: 4,
        allowed: vec!["127.0.0.0/8".parse().unwrap()],
        credentials: Credentials::default(),
    }
}

fn fetcher(settings: FetchSettings) -> Fetcher {
    install_tls();
    Fetcher::new(settings).unwrap()
}

fn install_tls() {
    // Another test may have been first.
    rustls::crypto::ring::default_provider().install_default().ok();
}

/// Fetches as a worker does, but waits for a permit for as long as it takes.
async fn fetch_patiently(fetcher: &Fetcher, url: &str, directory: &Path) -> Result<Fetched, Failure> {
    let work = Work::new("test");
    let permit = loop {
        match fetcher.permit(url, &work).await {
            Some(permit) => break permit,
            None => tokio::task::yield_now().await,
        }
    };
    fetcher.fetch(permit, &work, url, &Space::new(directory, 0)).await
}

/// One fetch with these settings into a directory of its own, which is then empty but for the file.
async fn fetch_with(settings: FetchSettings, url: &str) -> Result<Vec<u8>, Failure> {
    let directory = tempfile::tempdir().unwrap();
    let outcome = fetch_patiently(&fetcher(settings), url, directory.path()).await;
    let bytes = outcome.map(|fetched| {
        let bytes = std::fs::read(fetched.file.path()).unwrap();
        assert_eq!(fetched.size_bytes, bytes.len() as u64);
        assert_eq!(fetched.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
        bytes
    });
    assert_empty(&directory).await;
    bytes
}

async fn fetch(url: &str) -> Result<Vec<u8>, Failure> {
    fetch_with(settings(), url).await
}

/// A write under way when its fetch ended takes the file with it a moment later.
async fn assert_empty(directory: &TempDir) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    for _ in 0..1000 {
        ticks.tick().await;
        if std::fs::read_dir(directory.path()).unwrap().next().is_none() {
            return;
        }
    }
    panic!("temporary files are left behind");
}

async fn reason(url: &str) -> Reason {
    fetch(url).await.unwrap_err().reason
}

fn recording(size: usize) -> Vec<u8> {
    (0..=250).cycle().take(size).collect()
}

#[tokio::test]
async fn a_recording_arrives_whole() {
    let body = recording(700_001);
    let origin = Origin::answering(ok(&body)).await;
    assert_eq!(fetch(&origin.url("/call.wav?id=1#x")).await.unwrap(), body);
    let head = origin.heads().remove(0).to_lowercase();
    assert!(head.starts_with("get /call.wav?id=1 http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\naccept-encoding: identity\r\n") && !head.contains("authorization"), "{head}");
}

#[tokio::test]
async fn chunked_and_unframed_bodies_arrive_too() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n3\r\nmor\r\n0\r\n\r\n";
    let origin = Origin::answering(chunked.to_vec()).await;
    assert_eq!(fetch(&origin.url("/")).await.unwrap(), b"fourmor");
    let origin = Origin::answering(b"HTTP/1.0 200 OK\r\n\r\nuntil the end".to_vec()).await;
    assert_eq!(fetch(&origin.url("/")).await.unwrap(), b"until the end");
}

#[tokio::test]
async fn an_answer_tells_where_it_ends_by_its_length_or_its_chunks() {
    for (answer, is_end_told) in [
        (ok(b"sound"), true),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n".to_vec(), true),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end".to_vec(), false),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end".to_vec(), false),
    ] {
        let origin = Origin::answering(answer.clone()).await;
        let directory = tempfile::tempdir().unwrap();
        let fetched =
            fetch_patiently(&fetcher(settings()), &origin.url("/"), directory.path()).await.unwrap();
        assert_eq!(fetched.is_end_told, is_end_told, "{}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test]
async fn answers_without_a_recording_have_their_reasons() {
    for (status, headers, expected, retry) in [
        ("404 Not Found", &[][..], Reason::NotFound, Retry::Later),
        ("403 Forbidden", &[], Reason::Forbidden, Retry::Later),
        ("400 Bad Request", &[], Reason::HttpStatus, Retry::Final),
        ("206 Partial Content", &[], Reason::HttpStatus, Retry::Final),
        ("503 Busy", &["Retry-After: 90"], Reason::HttpStatus, Retry::After(Duration::from_secs(90))),
    ] {
        let origin = Origin::answering(answer(status, headers, b"a page that says why")).await;
        let failure = fetch(&origin.url("/")).await.unwrap_err();
        assert_eq!((failure.reason, failure.retry), (expected, retry), "{status}");
        assert!(!failure.detail.contains("page"), "{failure}");
    }
}

#[tokio::test]
async fn empty_bodies_are_empty() {
    let origin = Origin::answering(ok(b"")).await;
    assert_eq!(reason(&origin.url("/")).await, Reason::Empty);
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let origin = Origin::answering(chunked.to_vec()).await;
    assert_eq!(reason(&origin.url("/")).await, Reason::Empty);
}

#[tokio::test]
async fn too_much_is_refused_by_its_length_and_by_its_bytes() {
    let small = || FetchSettings { bytes_max: 1000, ..settings() };
    let promised = b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n".to_vec();
    let origin = Origin::start(move |_| vec![Step::Send(promised.clone()), Step::Stall]).await;
    let failure = fetch_with(small(), &origin.url("/")).await.unwrap_err();
    assert_eq!((failure.reason, failure.retry), (Reason::TooLarge, Retry::Final));

    let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let origin =
        Origin::start(move |_| vec![Step::Send(head.clone()), Step::Send(recording(1001)), Step::Stall])
            .await;
    assert_eq!(fetch_with(small(), &origin.url("/")).await.unwrap_err().reason, Reason::TooLarge);

    let origin = Origin::answering(ok(&recording(1000))).await;
    assert_eq!(fetch_with(small(), &origin.url("/")).await.unwrap().len(), 1000);
}

#[tokio::test]
async fn a_short_body_is_truncated() {
    let mut short = ok(&recording(300_000));
    short.truncate(200_000);
    let origin = Origin::answering(short).await;
    let failure = fetch(&origin.url("/")).await.unwrap_err();
    assert_eq!((failure.reason, failure.retry), (Reason::Truncated, Retry::Later));
    assert_eq!(origin.heads().len(), 1, "without a validator there is nothing to resume");
    let cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nfour".to_vec();
    let origin = Origin::answering(cut).await;
    assert_eq!(reason(&origin.url("/")).await, Reason::Truncated);
}

#[tokio::test]
async fn silence_is_a_timeout_at_every_stage() {
    let soon = Duration::from_millis(200);
    let impatient = || FetchSettings { connect_timeout: soon, idle_timeout: soon, ..settings() };
    let unheard = Origin::start(|_| vec![Step::Stall]).await;
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf".to_vec();
    let halted = Origin::start(move |_| vec![Step::Send(head.clone()), Step::Stall]).await;
    for origin in [unheard, halted] {
        let failure = fetch_with(impatient(), &origin.url("/")).await.unwrap_err();
        assert_eq!((failure.reason, failure.retry), (Reason::Timeout, Retry::Later));
        let whole = FetchSettings { timeout: soon, ..settings() };
        assert_eq!(fetch_with(whole, &origin.url("/")).await.unwrap_err().reason, Reason::Timeout);
    }
}

#[tokio::test]
async fn a_dripping_host_is_a_timeout() {
    let patient = FetchSettings { idle_timeout: Duration::from_millis(500), ..settings() };
    let origin = Origin::start(|_| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec();
        vec![Step::Send(head), Step::Drip(recording(100_000), Duration::from_millis(20))]
    })
    .await;
    let failure = fetch_with(patient, &origin.url("/")).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Timeout);
    assert!(failure.detail.contains("slowly"), "{failure}");
}

#[tokio::test]
async fn a_transfer_is_ended_for_others_and_attempted_again() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf".to_vec();
    let halted = Origin::start(move |_| vec![Step::Send(head.clone()), Step::Stall]).await;
    let (fetcher, work) = (fetcher(settings()), Work::new("test"));
    let permit = fetcher.permit(&halted.url("/"), &work).await.unwrap();
    work.end();
    let directory = tempfile::tempdir().unwrap();
    let failure = fetcher.fetch(permit, &work, &halted.url("/"), &Space::new(directory.path(), 0)).await;
    let failure = failure.unwrap_err();
    assert_eq!((failure.reason, failure.retry), (Reason::Timeout, Retry::Later));
    assert!(failure.detail.contains("wait"), "{failure}");
    assert_empty(&directory).await;
}

#[tokio::test]
async fn no_connection_no_answer_and_no_tls_have_their_reasons() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(reason(&format!("http://{closed}/")).await, Reason::Connect);
    let silent = Origin::start(|_| Vec::new()).await;
    assert_eq!(reason(&silent.url("/")).await, Reason::Connect);
    let garbage = Origin::answering(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()).await;
    assert_eq!(reason(&garbage.url("/")).await, Reason::Connect);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, &ok(b"no TLS")).await.unwrap();
        stream
    });
    assert_eq!(reason(&format!("https://{address}/")).await, Reason::Tls);
    plain.await.unwrap();
}

#[tokio::test]
async fn a_fetch_waits_for_a_permit_of_its_host() {
    let origin = Origin::answering(ok(b"x")).await;
    let fetcher = fetcher(FetchSettings { per_host: 1, ..settings() });
    let held = fetcher.permit(&origin.url("/"), &Work::new("test")).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let url = origin.url("/");
    let mut waiting = Box::pin(fetch_patiently(&fetcher, &url, directory.path()));
    assert!(timeout(Duration::from_millis(50), waiting.as_mut()).await.is_err(), "the only permit is held");
    assert!(origin.heads().is_empty());
    drop(held);
    waiting.await.unwrap();
}

#[tokio::test]
async fn a_sick_host_is_left_to_rest() {
    let origin = Origin::answering(answer("502 Bad Gateway", &[], b"")).await;
    let fetcher = fetcher(settings());
    let directory = tempfile::tempdir().unwrap();
    let urls: Vec<String> = (0..20).map(|call| origin.url(&format!("/{call}"))).collect();
    let outcomes = join_all(urls.iter().map(|url| fetch_patiently(&fetcher, url, directory.path()))).await;
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(|f| f.reason == Reason::HttpStatus)));
    let asked = origin.heads().len();
    let is_attempt =
        |outcome: &&Result<Fetched, Failure>| matches!(outcome, Err(Failure { retry: Retry::Later, .. }));
    assert_eq!(outcomes.iter().filter(is_attempt).count(), asked, "only what was asked for is an attempt");
    assert!((8..=11).contains(&asked), "{asked} of 20 were asked for");
    let failure = fetch_patiently(&fetcher, &origin.url("/21"), directory.path()).await.unwrap_err();
    assert!(matches!(failure.retry, Retry::Unattempted(_)), "{failure:?}");
}
