//! Which hosts a fetch goes to, and the credentials that each gets.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[tokio::test]
async fn loopback_is_blocked_unless_it_is_allowed() {
    let origin = Origin::answering(ok(b"secret")).await;
    let public = || FetchSettings { allowed: Vec::new(), ..settings() };
    let failure = fetch_with(public(), &origin.url("/")).await.unwrap_err();
    assert_eq!((failure.reason, failure.retry), (Reason::BlockedAddress, Retry::Final));
    let localhost = format!("http://localhost:{}/", origin.address.port());
    assert_eq!(fetch_with(public(), &localhost).await.unwrap_err().reason, Reason::BlockedAddress);
    assert!(origin.heads().is_empty(), "nobody was asked");
}

/// Names of the table resolver: to loopback, to both a public address and loopback, and to nothing.
fn table(name: &str) -> Vec<IpAddr> {
    match name {
        "pbx.example" | "files.example" => vec!["127.0.0.1".parse().unwrap()],
        "mixed.example" => vec!["93.184.216.34".parse().unwrap(), "127.0.0.1".parse().unwrap()],
        _ => Vec::new(),
    }
}

async fn fetch_by_table(allowed: &[&str], url: &str) -> Result<Fetched, Failure> {
    install_tls();
    let allowed: Vec<IpNet> = allowed.iter().map(|network| network.parse().unwrap()).collect();
    let resolver = Resolver::table(Guard::new(&allowed), table);
    let fetcher = Fetcher::with_resolver(FetchSettings { allowed, ..settings() }, resolver).unwrap();
    fetch_patiently(&fetcher, url, tempfile::tempdir().unwrap().path()).await
}

#[tokio::test]
async fn names_are_judged_by_what_they_resolve_to() {
    let origin = Origin::answering(ok(b"secret")).await;
    let url = |name: &str| format!("http://{name}:{}/", origin.address.port());
    for (name, reason) in [
        ("pbx.example", Reason::BlockedAddress),
        ("mixed.example", Reason::BlockedAddress),
        ("nowhere.example", Reason::Dns),
    ] {
        assert_eq!(fetch_by_table(&[], &url(name)).await.unwrap_err().reason, reason, "{name}");
    }
    assert!(origin.heads().is_empty(), "nobody was asked");
    assert_eq!(fetch_by_table(&["127.0.0.0/8"], &url("pbx.example")).await.unwrap().size_bytes, 6);
}

/// Goal: a name that changes its mind gains nothing. Method: one that leads to an allowed address when it is asked for to be
/// counted and to be connected to, and to a refused one ever after; its host sends us on to itself.
#[tokio::test]
async fn a_name_is_judged_by_the_answer_that_is_connected_to() {
    fn fickle(_name: &str) -> Vec<IpAddr> {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let address = if ASKED.fetch_add(1, Ordering::SeqCst) < 2 { "127.0.0.1" } else { "127.0.0.2" };
        vec![address.parse().unwrap()]
    }
    install_tls();
    let allowed: Vec<IpNet> = vec!["127.0.0.1/32".parse().unwrap()];
    let resolver = Resolver::table(Guard::new(&allowed), fickle);
    let fetcher = Fetcher::with_resolver(FetchSettings { allowed, ..settings() }, resolver).unwrap();
    let origin = Origin::start(|head| {
        vec![Step::Send(if head.starts_with("GET /first ") { found("/second") } else { ok(b"secret") })]
    })
    .await;
    let url = format!("http://fickle.example:{}/first", origin.address.port());
    let failure = fetch_patiently(&fetcher, &url, tempfile::tempdir().unwrap().path()).await.unwrap_err();
    assert_eq!((failure.reason, failure.retry), (Reason::BlockedAddress, Retry::Final));
    assert_eq!(origin.heads().len(), 1, "the first answer was connected to, and only that");
}

#[tokio::test]
async fn redirects_are_followed_ten_times_and_judged_each_time() {
    let origin = Origin::start(|head| {
        let path = head.split(' ').nth(1).unwrap();
        vec![Step::Send(match path {
            "/2" => found("1?x"),
            "/1?x" => found("//127.0.0.1:PORT/0".replace("PORT", host_port(head)).as_str()),
            "/0" => ok(b"here"),
            "/3" | "/4" | "/5" | "/6" | "/7" | "/8" | "/9" | "/10" | "/11" => {
                found(&format!("/{}", path[1..].parse::<u8>().unwrap() - 1))
            }
            "/loop" => found("/loop"),
            "/out" => found("http://192.168.0.1/"),
            "/name" => found("http://localhost/"),
            "/meta" => found("http://169.254.169.254/"),
            "/port" => found("http://8.8.8.8:25/"),
            "/file" => found("file:///etc/passwd"),
            "/bad" => found("http://[/"),
            _ => answer("302 Found", &[], b""),
        })]
    })
    .await;
    assert_eq!(fetch(&origin.url("/10")).await.unwrap(), b"here");
    for (path, expected) in [
        ("/11", Reason::HttpStatus),
        ("/loop", Reason::HttpStatus),
        ("/nowhere", Reason::HttpStatus),
        ("/out", Reason::BlockedAddress),
        ("/meta", Reason::BlockedAddress),
        ("/port", Reason::BlockedAddress),
        ("/file", Reason::BlockedAddress),
        ("/bad", Reason::BlockedAddress),
    ] {
        let failure = fetch(&origin.url(path)).await.unwrap_err();
        assert_eq!((failure.reason, failure.retry), (expected, Retry::Final), "{path}");
    }
}

fn host_port(head: &str) -> &str {
    let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    host.rsplit_once(':').unwrap().1
}

fn authorization(head: &str) -> Option<&str> {
    head.lines().find_map(|line| line.strip_prefix("authorization: "))
}

#[tokio::test]
async fn user_info_goes_to_its_own_origin_alone() {
    let other = Origin::answering(ok(b"there")).await;
    let elsewhere = other.url("/there");
    let origin = Origin::start(move |head| {
        vec![Step::Send(match head.split(' ').nth(1).unwrap() {
            "/away" => found(&elsewhere),
            "/stay" => found("/here"),
            _ => ok(b"here"),
        })]
    })
    .await;
    let url = |path: &str| origin.url(path).replace("http://", "http://us%65r:p%40ss@");
    fetch(&url("/stay")).await.unwrap();
    fetch(&url("/away")).await.unwrap();
    // user:p@ss
    let expected = Some("Basic dXNlcjpwQHNz");
    let told: Vec<_> = origin.heads().iter().map(|head| authorization(head).map(str::to_owned)).collect();
    assert_eq!(told, vec![expected.map(str::to_owned); 3]);
    assert_eq!(authorization(&other.heads()[0]), None);
    assert!(!origin.heads().concat().contains('@'));
}

#[tokio::test]
async fn the_credentials_file_signs_in_at_its_hosts() {
    let origin = Origin::start(|head| {
        vec![Step::Send(match authorization(head) {
            Some("Bearer token") => ok(b"yours"),
            Some("Basic dTpw") => ok(b"by address"),
            _ => answer("401 Unauthorized", &["WWW-Authenticate: Basic"], b""),
        })]
    })
    .await;
    let with = |more: &str| {
        let text = format!("[\"{}\"]\nbearer = \"token\"\n{more}", origin.address);
        FetchSettings { credentials: Credentials::parse(&text).unwrap(), ..settings() }
    };
    let (insecure, of_test, of_other) = (
        with("insecure = true"),
        with("insecure = true\nclient = \"test\""),
        with("insecure = true\nclient = \"other\""),
    );
    assert_eq!(fetch_with(of_test, &origin.url("/")).await.unwrap(), b"yours");
    assert_eq!(fetch_with(insecure.clone(), &origin.url("/")).await.unwrap(), b"yours");
    let own = origin.url("/").replace("http://", "http://u:p@");
    assert_eq!(fetch_with(insecure, &own).await.unwrap(), b"by address");
    let told = origin.heads().len();
    for without in [with(""), of_other, settings()] {
        let failure = fetch_with(without, &origin.url("/")).await.unwrap_err();
        assert_eq!((failure.reason, failure.retry), (Reason::Forbidden, Retry::Final));
    }
    let heads = origin.heads().split_off(told);
    assert!(heads.iter().all(|head| authorization(head).is_none()), "{heads:?}");
}
