//! Connections that are kept alive, and end as the next request comes.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::*;

/// How a host ends a connection on which it has answered, when the next request has come.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Reset,
    /// Half of an answer comes first.
    InTheHead,
}

async fn head(stream: &mut TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(())
}

/// A host that answers `good` connections once each and ends them at the second request, and later ones at the first. It
/// counts requests.
async fn ending(end: End, good: usize) -> (String, Arc<AtomicUsize>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/call.wav", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let mut running = JoinSet::new();
    running.spawn(async move {
        for number in 0.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            if number < good && head(&mut stream).await.is_some() {
                counted.fetch_add(1, Ordering::SeqCst);
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsound").await.unwrap();
            }
            // The next connection may come before this one ends.
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                if head(&mut stream).await.is_none() {
                    return;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                match end {
                    End::Close => stream.shutdown().await.unwrap(),
                    End::Reset => stream.set_zero_linger().unwrap(),
                    End::InTheHead => stream.write_all(b"HTTP/1.1 200 OK\r\nCon").await.unwrap(),
                }
            });
        }
    });
    (url, asked, running)
}

#[tokio::test]
async fn a_kept_connection_that_ends_at_the_second_request_costs_no_attempt() {
    for end in [End::Close, End::Reset, End::InTheHead] {
        let (url, asked, _running) = ending(end, 2).await;
        let fetcher = fetcher(settings());
        let directory = tempfile::tempdir().unwrap();
        for requests in [1, 3] {
            let fetched = fetch_patiently(&fetcher, &url, directory.path()).await;
            assert_eq!(fetched.map(|fetched| fetched.size_bytes), Ok(5), "{end:?}");
            assert_eq!(asked.load(Ordering::SeqCst), requests, "{end:?}");
        }
    }
}

#[tokio::test]
async fn a_new_connection_that_ends_too_is_a_failure() {
    let (url, asked, _running) = ending(End::Close, 1).await;
    let fetcher = fetcher(settings());
    let directory = tempfile::tempdir().unwrap();
    fetch_patiently(&fetcher, &url, directory.path()).await.unwrap();
    let failure = fetch_patiently(&fetcher, &url, directory.path()).await.unwrap_err();
    assert_eq!((failure.reason, failure.retry), (Reason::Connect, Retry::Later));
    assert_eq!(failure.detail, "the host closed the connection without an answer");
    assert_eq!(asked.load(Ordering::SeqCst), 3, "once more, and no more than once");
    let failure = fetch_patiently(&fetcher, &url, directory.path()).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Connect);
    assert_eq!(asked.load(Ordering::SeqCst), 4, "a new connection that ends is a failure at once");
}
