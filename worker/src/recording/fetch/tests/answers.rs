//! Answers that are not by the book, and ones that no book allows.

use std::io::Write as _;

use super::*;

#[tokio::test]
async fn heads_of_old_media_servers_are_read() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Type : audio/wav\r\nContent-Length : 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length\t: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Call: folded\r\n over\r\n\tthree lines\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Disposition: attachment;\r\n  filename=a.wav\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX Call: spaced\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 5\n\n",
        "HTTP/1.0 200 OK\r\nServer: S\u{e4}nger\r\n\r\n",
    ] {
        let origin = Origin::answering(format!("{head}sound").into_bytes()).await;
        assert_eq!(fetch(&origin.url("/")).await.as_deref(), Ok(&b"sound"[..]), "{head:?}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_told_from_none() {
    let many = (0..200).map(|number| format!("X-{number}: x\r\n")).collect::<String>();
    for (case, bytes, detail) in [
        ("SSH", "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(), "cannot be read"),
        ("no head", "RIFF....WAVE, without a head\r\n\r\n".to_owned(), "cannot be read"),
        ("ICY", "ICY 200 OK\r\n\r\n".to_owned(), "cannot be read"),
        ("version", "HTTP/3.7 200 OK\r\n\r\n".to_owned(), "cannot be read"),
        ("status", "HTTP/1.1 2x0 OK\r\n\r\n".to_owned(), "cannot be read"),
        ("length", "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nsound".to_owned(), "cannot be read"),
        (
            "lengths",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nsound".to_owned(),
            "cannot be read",
        ),
        ("too many", format!("HTTP/1.1 200 OK\r\n{many}\r\n"), "cannot be read"),
        ("too long", format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(200_000)), "cannot be read"),
        ("nothing", String::new(), "closed the connection without an answer"),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-".to_owned(), "closed the connection without an answer"),
    ] {
        let origin = Origin::answering(bytes.into_bytes()).await;
        let failure = fetch(&origin.url("/")).await.unwrap_err();
        assert_eq!((failure.reason, failure.retry), (Reason::Connect, Retry::Later), "{case}");
        assert!(failure.detail.contains(detail), "{case}: {failure}");
        assert_eq!(origin.heads().len(), 1, "{case}");
    }
}

#[tokio::test]
async fn chunks_that_cannot_be_read_are_told_from_a_connection_that_ends() {
    for (chunks, detail) in [
        ("5\r\nsound\r\nxyz\r\nmore", "cannot be read"),
        ("5\r\nsoundmore\r\n0\r\n\r\n", "cannot be read"),
        ("5\r\nsound\r\n", "broke off"),
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}").into_bytes();
        let failure = fetch(&Origin::answering(bytes).await.url("/")).await.unwrap_err();
        assert_eq!(failure.reason, Reason::Truncated, "{chunks}");
        assert!(failure.detail.contains(detail), "{chunks}: {failure}");
    }
}

#[tokio::test]
async fn a_partial_answer_that_has_all_of_it_is_taken() {
    let body = recording(1000);
    for (range, expected) in [
        ("bytes 0-999/1000", Ok(())),
        ("bytes 0-998/1000", Err((Reason::HttpStatus, Retry::Final))),
        ("bytes 1-1000/1001", Err((Reason::HttpStatus, Retry::Final))),
        ("bytes 0-999/*", Err((Reason::HttpStatus, Retry::Final))),
        ("nonsense", Err((Reason::HttpStatus, Retry::Final))),
        // It says more than it sends.
        ("bytes 0-1999/2000", Err((Reason::Truncated, Retry::Later))),
    ] {
        let range = format!("Content-Range: {range}");
        let origin = Origin::answering(answer("206 Partial Content", &[&range], &body)).await;
        let outcome = fetch(&origin.url("/")).await;
        let outcome = outcome.map(|bytes| assert_eq!(bytes, body)).map_err(|f| (f.reason, f.retry));
        assert_eq!(outcome, expected, "{range}");
    }
}

#[tokio::test]
async fn a_packed_answer_is_unpacked_and_never_resumed() {
    let body = recording(500_000);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&body).unwrap();
    let packed = encoder.finish().unwrap();
    let headers = ["Content-Encoding: gzip", "ETag: \"v1\""];
    let whole = answer("200 OK", &headers, &packed);
    let origin = Origin::answering(whole.clone()).await;
    assert_eq!(fetch(&origin.url("/")).await.unwrap(), body);
    let small = FetchSettings { bytes_max: 499_999, ..settings() };
    assert_eq!(fetch_with(small, &origin.url("/")).await.unwrap_err().reason, Reason::TooLarge);

    let half = whole[..whole.len() - packed.len() / 2].to_vec();
    let origin = Origin::answering(half).await;
    assert_eq!(reason(&origin.url("/")).await, Reason::Truncated);
    assert_eq!(origin.heads().len(), 1, "the rest of packed bytes is of no use");
}

#[tokio::test]
async fn a_challenge_is_answered_once_and_kept_to_its_host() {
    let challenge = "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n1\", qop=\"auth\", algorithm=SHA-256";
    let guarded = move |head: &str| {
        let signed = head.lines().find_map(|line| line.strip_prefix("authorization: "));
        match (head.split(' ').nth(1).unwrap(), signed) {
            ("/never", _) => answer("401 Unauthorized", &[challenge], b""),
            ("/first", Some(signed)) if signed.starts_with("Digest ") => found("/second"),
            (_, Some(signed)) if signed.starts_with("Digest ") => ok(signed.as_bytes()),
            _ => answer("401 Unauthorized", &[challenge], b""),
        }
    };
    let origin = Origin::start(move |head| vec![Step::Send(guarded(head))]).await;
    let url = |path: &str| origin.url(path).replace("http://", "http://u:p@");
    let told = String::from_utf8(fetch(&url("/first")).await.unwrap()).unwrap();
    assert!(told.contains("uri=\"/second\"") && told.contains("nc=00000003"), "{told}");
    let paths = |heads: Vec<String>| -> Vec<String> {
        heads.iter().map(|head| head.split(' ').nth(1).unwrap().to_owned()).collect()
    };
    assert_eq!(paths(origin.heads()), ["/first", "/first", "/second"], "challenged once");

    let failure = fetch(&url("/never")).await.unwrap_err();
    assert_eq!((failure.reason, failure.retry), (Reason::Forbidden, Retry::Final));
    assert_eq!(paths(origin.heads()).iter().filter(|path| *path == "/never").count(), 2);
    let asked = origin.heads().len();
    assert_eq!(reason(&origin.url("/plain")).await, Reason::Forbidden);
    assert_eq!(origin.heads().len(), asked + 1, "without a password there is nothing to answer");
}

/// Services of other kinds greet whoever connects, before they are asked anything.
#[tokio::test]
async fn a_service_that_speaks_first_is_told_from_a_closed_connection() {
    for greeting in ["SSH-2.0-OpenSSH_9.2\r\n", "220 mail.example ESMTP\r\n", "+OK\r\n", "\0\0\0\x0aMySQL"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::io::AsyncWriteExt::write_all(&mut stream, greeting.as_bytes()).await.unwrap();
                held.push(stream);
            }
        });
        // Before the request is sent, or after.
        for _ in 0..5 {
            let failure = fetch(&url).await.unwrap_err();
            assert_eq!((failure.reason, failure.retry), (Reason::Connect, Retry::Later), "{greeting:?}");
            assert!(failure.detail.contains("cannot be read as HTTP"), "{greeting:?}: {failure}");
        }
        serving.abort();
    }
}
