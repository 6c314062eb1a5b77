//! Redirects and addresses: each is judged, and a password goes only where it belongs.

use harness::{Answer, Origin, sounds};

use crate::failures::{Attempts, SETTINGS, assert_given_up, wav};
use crate::site::{Engine, on_both_engines};

on_both_engines!(every_redirect_and_every_address_is_judged);

/// Addresses that are refused before anybody is asked.
fn refused_addresses(port: u16) -> Vec<String> {
    [
        format!("http://127.0.0.2:{port}/0"),
        format!("http://0x7f.0.0.2:{port}/0"),
        format!("http://2130706434:{port}/0"),
        format!("http://[::ffff:127.0.0.2]:{port}/0"),
        format!("http://[::1]:{port}/0"),
        format!("http://0.0.0.0:{port}/0"),
        "http://10.0.0.1/0".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "http://[fd00:ec2::254]/".to_owned(),
        "http://[64:ff9b::7f00:2]/".to_owned(),
        "http://192.168.1.1/".to_owned(),
        // Public addresses, at ports of other services than web servers.
        "http://8.8.8.8:25/".to_owned(),
        "https://[2606:4700::1111]:5432/".to_owned(),
        "http://8.8.8.8:27017/0".to_owned(),
    ]
    .to_vec()
}

async fn every_redirect_and_every_address_is_judged(engine: Engine) {
    let site = engine.up(&SETTINGS).await;
    let (origin, other) = (Origin::start().await, Origin::start().await);
    let to = |to: String| Answer::Redirect { status: 302, to };
    let there = other.serve("/there", wav());
    let port = origin.address().port();
    origin.serve("/0", wav());
    for hop in 1..=11 {
        origin.serve(&format!("/{hop}"), Answer::Redirect { status: 307, to: format!("{}", hop - 1) });
    }
    let with_password = origin.serve("/away", to(there.clone())).replace("http://", "http://user:pass@");
    let stays = origin.serve("/stays", to("/0".to_owned())).replace("http://", "http://user:pass@");

    let mut blocked = refused_addresses(port);
    for (number, target) in [
        format!("http://127.0.0.2:{port}/0"),
        format!("//127.0.0.2:{port}/0"),
        "http://10.1.2.3/".to_owned(),
        "http://169.254.169.254/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "ftp://127.0.0.1/x.wav".to_owned(),
        "gopher://127.0.0.1/".to_owned(),
        "http://[/".to_owned(),
        "http://8.8.8.8:6379/".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        blocked.push(origin.serve(&format!("/out/{number}"), to(target)));
    }
    // Bytes that are not packed are kept as they come, whatever the host says of them.
    let coded = Answer::Encoded { coding: "gzip", bytes: sounds(1).remove(0).bytes };
    let coded = origin.serve("/coded", coded);
    let stored = [origin.url("/0"), origin.url("/10"), with_password, stays, there.clone(), coded];
    let endless = [origin.url("/11"), origin.serve("/loop", to("/loop".to_owned()))];

    let urls: Vec<String> = [&stored[..], &endless[..], &blocked[..]].concat();
    let ids = site.post(&urls).await;
    let recordings = site.all_settled(&ids).await;
    for ((url, recording), number) in urls.iter().zip(&recordings).zip(0..) {
        if number < stored.len() {
            assert_eq!(recording["status"], "stored", "{url}: {recording}");
        } else if number < stored.len() + endless.len() {
            assert_given_up(recording, "http_status", Attempts::Once, url);
        } else {
            assert_given_up(recording, "blocked_address", Attempts::Once, url);
        }
    }
    assert_eq!(origin.seen("/coded")[0].header("accept-encoding"), Some("identity"));
    // user:pass, to its own origin at every hop, and to no other.
    let basic = Some("Basic dXNlcjpwYXNz");
    let told = |origin: &Origin, path: &str| -> Vec<Option<String>> {
        origin.seen(path).iter().map(|seen| seen.header("authorization").map(str::to_owned)).collect()
    };
    for path in ["/away", "/stays"] {
        assert_eq!(told(&origin, path), [basic.map(str::to_owned)], "{path}");
    }
    assert_eq!(told(&origin, "/0").iter().filter(|told| told.as_deref() == basic).count(), 1);
    assert_eq!(told(&other, "/there"), [None, None]);
    site.stop().await;
}
