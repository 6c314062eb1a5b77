//! Recordings behind TLS: whose word is taken for a host, and what becomes of transfers in HTTP/2 that break off.

use std::net::TcpListener;

use harness::{Authority, Break, Origin, Protocol, SecureOrigin, Validity, self_signed, telephone_sound};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::site::{Engine, Site, on_both_engines};

on_both_engines!(
    only_hosts_that_a_trusted_authority_vouches_for_are_fetched_from,
    http2_transfers_that_break_off_are_taken_up,
    no_proxy_of_the_environment_is_asked,
);

const SETTINGS: [(&str, &str); 5] = [
    ("CALLVINE_FETCH_ATTEMPTS", "2"),
    ("CALLVINE_FETCH_BACKOFF", "20ms"),
    // All origins are one host: 127.0.0.1.
    ("CALLVINE_FETCH_PER_HOST", "32"),
    ("CALLVINE_WORKER_CONCURRENCY", "32"),
    ("RUST_LOG", "debug"),
];

/// Seconds of 8 kHz A-law: three times what an HTTP/2 client takes before it says that it has room for more (2 MiB).
const LONG_SECONDS: u64 = 786;

/// Past the first of those, so that the client has read some of it.
const MIDWAY: usize = 3 << 20;

async fn up(engine: Engine, more: &[(&str, &str)]) -> Site {
    let settings: Vec<_> = SETTINGS.iter().chain(more).copied().collect();
    engine.up(&settings).await
}

/// Puts the authority's certificate into a file of its own, in a directory of its own.
fn trusted(authority: &Authority) -> std::path::PathBuf {
    let path = harness::new_directory("trusted").join("company.pem");
    std::fs::write(&path, authority.pem()).unwrap();
    path
}

fn files_in(directory: &std::path::Path) -> usize {
    let paths = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| if path.is_dir() { files_in(&path) } else { 1 }).sum()
}

fn assert_untrusted(recording: &Value, case: &str) {
    let said = json!([recording["status"], recording["reason"], recording["attempts"]]);
    assert_eq!(said, json!(["failed", "tls", 2]), "{case}: {recording}");
    assert_eq!(recording["last_error"], "the host's TLS is not valid", "{case}");
}

async fn only_hosts_that_a_trusted_authority_vouches_for_are_fetched_from(engine: Engine) {
    let (company, other) = (Authority::new(), Authority::new());
    let sound = telephone_sound(1);
    let start = async |tls| SecureOrigin::start(tls, Protocol::Http1, sound.clone(), &[]).await;
    let good = start(company.certify("127.0.0.1", Validity::Now)).await;
    let bad = [
        ("expired", start(company.certify("127.0.0.1", Validity::Past)).await),
        ("not good yet", start(company.certify("127.0.0.1", Validity::Future)).await),
        ("of another host", start(company.certify("pbx.example.com", Validity::Now)).await),
        ("of another authority", start(other.certify("127.0.0.1", Validity::Now)).await),
        ("its own", start(self_signed("127.0.0.1")).await),
    ];

    // Nobody has said yet that the company's word is good.
    let site = up(engine, &[]).await;
    let ids = site.post(&[good.url()]).await;
    assert_untrusted(&site.settled(ids[0]).await, "of an unknown authority");
    assert!(good.seen().is_empty(), "it is told nothing, not even the path");
    let recordings = site.directory().join("callvine-data/recordings");
    assert_eq!(files_in(&recordings), 0, "nothing of it is kept");

    let path = trusted(&company);
    let engine = site.stop().await;
    let site = up(engine, &[("SSL_CERT_FILE", path.to_str().unwrap())]).await;
    let urls: Vec<String> = bad.iter().map(|(_, origin)| origin.url()).collect();
    let bad_ids = site.post(&urls).await;
    for ((case, origin), recording) in bad.iter().zip(site.all_settled(&bad_ids).await) {
        assert_untrusted(&recording, case);
        assert!(origin.seen().is_empty(), "{case}");
    }
    // The host is trusted now: the retry stores the recording.
    assert_eq!(site.dead_letters(&["retry", &format!("r{}", ids[0])]).await.len(), 1);
    let recording = site.stored(ids[0]).await;
    assert_eq!(recording["sha256"], hex::encode(Sha256::digest(&sound)));

    // Own authorities usually lie in a directory, beside the system's file.
    let engine = site.stop().await;
    let settings = [
        ("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"),
        ("SSL_CERT_DIR", path.parent().unwrap().to_str().unwrap()),
    ];
    let site = up(engine, &settings).await;
    let ids = site.post(&[good.url()]).await;
    assert_eq!(site.settled(ids[0]).await["status"], "stored");
    site.stop().await;
}

#[tokio::test]
async fn a_list_of_authorities_that_is_not_there_ends_the_start() {
    let up = harness::Callvine::new("up").env("SSL_CERT_FILE", "/nonexistent.pem").run().await;
    up.assert_code(2);
    assert!(up.stderr.contains("SSL_CERT_FILE"), "{}", up.stderr);
}

async fn http2_transfers_that_break_off_are_taken_up(engine: Engine) {
    let company = Authority::new();
    let sound = telephone_sound(LONG_SECONDS);
    let tls = || company.certify("127.0.0.1", Validity::Now);
    let path = trusted(&company);
    let site = up(engine, &[("SSL_CERT_FILE", path.to_str().unwrap())]).await;
    let start = async |breaks| SecureOrigin::start(tls(), Protocol::Http2, sound.clone(), breaks).await;
    // How an answer breaks off; how many requests and how many attempts it then takes.
    let mut cases = vec![
        ("whole", start(&[]).await, 1, 1),
        ("reset", start(&[(Break::Reset, MIDWAY)]).await, 2, 1),
        ("error", start(&[(Break::GoAway, MIDWAY)]).await, 2, 1),
        ("drained", start(&[(Break::Drain, MIDWAY)]).await, 1, 1),
        ("hung up", start(&[(Break::HangUp, MIDWAY)]).await, 2, 1),
        ("reset and error", start(&[(Break::Reset, MIDWAY), (Break::GoAway, MIDWAY / 4)]).await, 3, 1),
    ];
    for breaks in [Break::Reset, Break::GoAway] {
        let origin = SecureOrigin::without_validator(tls(), sound.clone(), &[(breaks, MIDWAY)]).await;
        cases.push(("without a validator", origin, 2, 2));
    }
    let old = SecureOrigin::start(tls(), Protocol::Http1, sound.clone(), &[(Break::HangUp, MIDWAY)]).await;
    cases.push(("HTTP/1.1", old, 2, 1));

    let urls: Vec<String> = cases.iter().map(|(_, origin, ..)| origin.url()).collect();
    let ids = site.post(&urls).await;
    let recordings = site.all_settled(&ids).await;
    for ((case, origin, requests, tries), recording) in cases.iter().zip(&recordings) {
        let said = json!([recording["status"], recording["attempts"]]);
        assert_eq!(said, json!(["stored", tries]), "{case}: {recording}");
        assert_eq!(recording["sha256"], hex::encode(Sha256::digest(&sound)), "{case}");
        let seen = origin.seen();
        assert_eq!(seen.len(), *requests, "{case}: {seen:?}");
        assert!(seen.iter().all(|seen| seen.is_http2 == (*case != "HTTP/1.1")), "{case}: {seen:?}");
        let taken_up = seen.iter().filter(|seen| seen.range.is_some()).count();
        assert_eq!(taken_up, if *tries == 1 { requests - 1 } else { 0 }, "{case}: {seen:?}");
    }
    site.stop().await;
}

/// Goal: whoever runs the worker behind a company's proxy does not hand it the guard's decisions. Method: every
/// variable that a client may take a proxy from names a listener, which then must have had no connection.
async fn no_proxy_of_the_environment_is_asked(engine: Engine) {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let company = Authority::new();
    let path = trusted(&company);
    let mut settings = vec![("SSL_CERT_FILE", path.to_str().unwrap()), ("NO_PROXY", ""), ("no_proxy", "")];
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        settings.push((name, &address));
    }
    let site = up(engine, &settings).await;
    let tls = company.certify("127.0.0.1", Validity::Now);
    let secure = SecureOrigin::start(tls, Protocol::Http2, telephone_sound(1), &[]).await;
    let plain = Origin::start().await;
    let sound = plain.serve("/call.wav", harness::Answer::wav(telephone_sound(1)));
    let within = ["http://10.0.0.1/call.wav".to_owned(), "https://192.168.0.1/call.wav".to_owned()];
    let ids = site.post(&[&[sound, secure.url()][..], &within].concat()).await;
    let recordings = site.all_settled(&ids).await;
    for recording in &recordings[..2] {
        assert_eq!(recording["status"], "stored", "{recording}");
    }
    for recording in &recordings[2..] {
        assert_eq!(recording["reason"], "blocked_address", "{recording}");
    }
    let asked = proxy.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(asked, Err(std::io::ErrorKind::WouldBlock), "somebody asked the proxy");
    site.stop().await;
}
