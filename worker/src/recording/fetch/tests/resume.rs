//! Transfers that break, and go on.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::transfer::RESUMES_MAX;
use super::*;

/// A host that breaks off after `at` bytes of each answer, and can send parts.
async fn breaking(body: Vec<u8>, at: usize, etag: &'static str) -> Origin {
    Origin::start(move |head| {
        let start = head.lines().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-'));
        let start: usize = start.map_or(0, |start| start.parse().unwrap());
        let etag = format!("ETag: {etag}");
        let mut bytes = match start {
            0 => answer("200 OK", &[&etag], &body),
            _ => {
                let range = format!("Content-Range: bytes {start}-{}/{}", body.len() - 1, body.len());
                answer("206 Partial Content", &[&etag, &range], &body[start..])
            }
        };
        let head_bytes = bytes.len() - (body.len() - start);
        bytes.truncate(head_bytes + at);
        vec![Step::Send(bytes)]
    })
    .await
}

#[tokio::test]
async fn a_broken_transfer_is_resumed_where_it_broke() {
    let body = recording(900_000);
    let origin = breaking(body.clone(), 300_000, "\"v1\"").await;
    assert_eq!(fetch(&origin.url("/")).await.unwrap(), body);
    let heads = origin.heads();
    assert_eq!(heads.len(), 3);
    assert!(heads[1].contains("range: bytes=300000-\r\n") && heads[1].contains("if-range: \"v1\"\r\n"));
}

#[tokio::test]
async fn a_transfer_is_resumed_only_so_often_and_never_by_a_weak_validator() {
    let origin = breaking(recording(900_000), 100_000, "\"v1\"").await;
    assert_eq!(reason(&origin.url("/")).await, Reason::Truncated);
    assert_eq!(origin.heads().len(), 1 + RESUMES_MAX);
    let origin = breaking(recording(900_000), 100_000, "W/\"v1\"").await;
    assert_eq!(reason(&origin.url("/")).await, Reason::Truncated);
    assert_eq!(origin.heads().len(), 1);
}

#[tokio::test]
async fn a_recording_that_changed_meanwhile_is_fetched_anew() {
    let asked = AtomicUsize::new(0);
    let origin = Origin::start(move |_| {
        vec![Step::Send(match asked.fetch_add(1, Ordering::SeqCst) {
            0 => {
                let mut bytes = answer("200 OK", &["ETag: \"old\""], &vec![1; 500_000]);
                bytes.truncate(400_000);
                bytes
            }
            _ => answer("200 OK", &["ETag: \"new\""], b"new"),
        })]
    })
    .await;
    assert_eq!(fetch(&origin.url("/")).await.unwrap(), b"new");
}

#[tokio::test]
async fn another_part_than_asked_for_is_refused() {
    let asked = AtomicUsize::new(0);
    let origin = Origin::start(move |_| {
        vec![Step::Send(match asked.fetch_add(1, Ordering::SeqCst) {
            0 => {
                let mut bytes = answer("200 OK", &["ETag: \"v\""], &recording(1000));
                bytes.truncate(500);
                bytes
            }
            _ => answer("206 Partial Content", &["Content-Range: bytes 0-999/1000"], &recording(1000)),
        })]
    })
    .await;
    assert_eq!(reason(&origin.url("/")).await, Reason::Truncated);
}
