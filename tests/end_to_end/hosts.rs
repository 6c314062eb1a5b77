//! Hosts whose answers are not by the book, and passwords by Digest, with tools of others as the reference.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use harness::{Answer, Origin, sounds};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::failures::{Attempts, SETTINGS, assert_given_up};
use crate::site::{Engine, on_both_engines};

on_both_engines!(
    answers_that_are_not_by_the_book_are_stored,
    answers_that_no_book_allows_have_a_name,
    a_digest_is_answered_as_other_tools_compute_it,
    a_kept_connection_that_ends_costs_no_attempt,
);

/// The output of a program that reads this.
fn piped(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let mut output = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success(), "{program}");
    output
}

fn raw(head: &str, body: &[u8]) -> Answer {
    Answer::Raw([head.as_bytes(), b"\r\n\r\n", body].concat().into())
}

fn gzipped(bytes: &[u8]) -> Answer {
    Answer::Encoded { coding: "gzip", bytes: piped("gzip", &["-c"], bytes).into() }
}

async fn answers_that_are_not_by_the_book_are_stored(engine: Engine) {
    let site = engine.up(&SETTINGS).await;
    let origin = Origin::start().await;
    let sound = sounds(1).remove(0).bytes;
    let length = sound.len();
    let urls = [
        origin.serve("/packed", gzipped(&sound)),
        origin.serve("/whole", raw(&format!("HTTP/1.1 206 Partial Content\r\nContent-Length: {length}\r\nContent-Range: bytes 0-{}/{length}", length - 1), &sound)),
        origin.serve("/folded", raw(&format!("HTTP/1.1 200 OK\r\nContent-Disposition: attachment;\r\n filename=a.wav\r\nContent-Length: {length}"), &sound)),
        origin.serve("/spaced", raw(&format!("HTTP/1.1 200 OK\r\nContent-Length : {length}"), &sound)),
        origin.serve_in_turn("/locked", vec![Answer::Status(423)], Answer::wav(sound.clone())),
    ];
    let ids = site.post(&urls).await;
    for (url, recording) in urls.iter().zip(site.all_settled(&ids).await) {
        let attempts = if url.ends_with("/locked") { 2 } else { 1 };
        let said = json!([recording["status"], recording["attempts"], recording["size"]]);
        assert_eq!(said, json!(["stored", attempts, length]), "{url}: {recording}");
        assert_eq!(recording["sha256"], hex::encode(Sha256::digest(&sound)), "{url}");
    }
    site.stop().await;
}

async fn answers_that_no_book_allows_have_a_name(engine: Engine) {
    let site = engine.up(&SETTINGS).await;
    let sound = sounds(1).remove(0).bytes;
    let zeros = vec![0; 20 << 20];
    let mut cut = piped("gzip", &["-c"], &sound);
    cut.truncate(cut.len() / 2);
    let part = raw("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/20", b"RIFFxxxxWA");
    let mut cases = Vec::new();
    for (answer, reason, tried, said) in [
        (raw("SSH-2.0-OpenSSH_9.2", b""), "connect", Attempts::Often, "cannot be read as HTTP"),
        (raw("RIFF without a head", b""), "connect", Attempts::Often, "cannot be read as HTTP"),
        (Answer::Raw("HTTP/1.1 200 O".into()), "connect", Attempts::Often, "closed the connection"),
        (Answer::Reset, "connect", Attempts::Often, "closed the connection"),
        (part, "http_status", Attempts::Once, "206 with a part"),
        (
            Answer::Encoded { coding: "gzip", bytes: cut.into() },
            "truncated",
            Attempts::Often,
            "cannot be unpacked",
        ),
        // 20 MiB in 20 KiB, of which 2 MiB are taken.
        (gzipped(&zeros), "too_large", Attempts::Once, "CALLVINE_MAX_RECORDING"),
    ] {
        // An origin each, so that one's failures don't send another's to rest.
        let origin = Origin::start().await;
        let url = origin.serve("/call.wav", answer);
        cases.push((origin, url, reason, tried, said));
    }
    let urls: Vec<String> = cases.iter().map(|(_, url, ..)| url.clone()).collect();
    let ids = site.post(&urls).await;
    for ((_, _, reason, tried, said), recording) in cases.iter().zip(site.all_settled(&ids).await) {
        assert_given_up(&recording, reason, *tried, said);
        assert!(recording["last_error"].as_str().unwrap().contains(said), "{said}: {recording}");
    }
    let site = site.stop().await.up(&[("CALLVINE_MAX_RECORDING", "64MiB")]).await;
    let origin = Origin::start().await;
    let ids = site.post(&[origin.serve("/bomb", gzipped(&zeros))]).await;
    let recording = site.settled(ids[0]).await;
    assert_eq!(recording["reason"], "too_large", "{recording}");
    assert!(recording["last_error"].as_str().unwrap().contains("100 times"), "{recording}");
    site.stop().await;
}

/// The first word that such a program prints about a text.
fn summed(program: &str, text: &str) -> String {
    let output = String::from_utf8(piped(program, &[], text.as_bytes())).unwrap();
    output.split(' ').next().unwrap().to_owned()
}

async fn a_digest_is_answered_as_other_tools_compute_it(engine: Engine) {
    let site = engine.up(&SETTINGS).await;
    let origin = Origin::start().await;
    let sound = sounds(1).remove(0).bytes;
    let cases = [
        ("/md5", "md5sum", r#"Digest realm="pbx", nonce="abc", qop="auth", algorithm=MD5"#),
        ("/sha", "sha256sum", r#"Digest realm="pbx", nonce="abc", qop="auth,auth-int", algorithm=SHA-256"#),
        ("/md5-without-qop", "md5sum", r#"Digest realm="pbx", nonce="abc", opaque="x""#),
        ("/sha-without-qop", "sha256sum", r#"Digest realm="pbx", nonce="abc", algorithm=SHA-256"#),
    ];
    let urls = cases.map(|(path, _, challenge)| {
        let answer = Answer::Guarded { challenge: challenge.to_owned(), bytes: sound.clone() };
        origin.serve(path, answer).replace("http://", "http://user:p%40ss@")
    });
    let wrong =
        origin.serve("/never", Answer::Guarded { challenge: "NTLM".to_owned(), bytes: sound.clone() });
    let ids = site.post(&[&urls[..], &[wrong.replace("http://", "http://user:pass@")]].concat()).await;
    let recordings = site.all_settled(&ids).await;
    for ((path, program, _), recording) in cases.iter().zip(&recordings) {
        let said = json!([recording["status"], recording["attempts"]]);
        assert_eq!(said, json!(["stored", 1]), "{path}: {recording}");
        let seen = origin.seen(path);
        assert_eq!(seen.len(), 2, "{path}: challenged once");
        let header = seen[1].header("authorization").unwrap();
        let told = |name: &str| {
            let mut found = header["Digest ".len()..].split(", ").filter_map(|text| text.split_once('='));
            found
                .find(|(found, _)| *found == name)
                .map(|(_, value)| value.trim_matches('"'))
                .unwrap_or_default()
        };
        let (user, request) = (summed(program, "user:pbx:p@ss"), summed(program, &format!("GET:{path}")));
        let middle = match path.ends_with("qop") {
            true => "abc".to_owned(),
            false => format!("abc:{}:{}:auth", told("nc"), told("cnonce")),
        };
        assert_eq!(
            told("response"),
            summed(program, &format!("{user}:{middle}:{request}")),
            "{path}: {header}"
        );
    }
    assert_given_up(&recordings[cases.len()], "forbidden", Attempts::Once, "/never");
    site.stop().await;
}

/// Reads a request's head; `None` when the client leaves.
async fn request(stream: &mut TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(())
}

/// A host that answers the first request on each connection, keeps the connection, and closes it at the second.
async fn closing(sound: Vec<u8>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sound.len());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = [head.as_bytes(), &sound].concat();
            tokio::spawn(async move {
                if request(&mut stream).await.is_some() {
                    stream.write_all(&answer).await.ok();
                    request(&mut stream).await;
                }
            });
        }
    });
    address
}

async fn a_kept_connection_that_ends_costs_no_attempt(engine: Engine) {
    let site = engine.up(&SETTINGS).await;
    let address = closing(sounds(1).remove(0).bytes.to_vec()).await;
    for number in 0..6 {
        let ids = site.post(&[format!("http://{address}/{number}.wav")]).await;
        let recording = site.settled(ids[0]).await;
        let said = json!([recording["status"], recording["attempts"]]);
        assert_eq!(said, json!(["stored", 1]), "{number}: {recording}");
    }
    site.stop().await;
}
