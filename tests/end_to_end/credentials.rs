//! Credentials: each host gets its own, and nobody else learns of them.

use harness::{Answer, Authority, Origin, Protocol, SecureOrigin, Validity, telephone_sound};
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use serde_json::Value;

use crate::recordings::PATIENCE;
use crate::site::{Engine, Site, on_both_engines};

on_both_engines!(
    credentials_go_to_their_own_host_and_are_written_nowhere,
    a_host_behind_tls_does_not_send_anybody_out_of_it,
    credentials_of_the_file_go_over_tls_and_to_their_client_alone,
);

/// Holds the events.
const EVENTS: &str = "every-event";

/// In the file of credentials: a password, and a token. Then in addresses: a user's password, and a name without one.
const SECRETS: [&str; 4] = ["pbx-hunter2", "token-hunter3", "url-hunter4", "url-hunter5"];

/// The `Authorization` header of the user `u` with this password.
fn basic(password: &str) -> &'static str {
    match password {
        "pbx-hunter2" => "Basic dTpwYngtaHVudGVyMg==",
        "url-hunter4" => "Basic dTp1cmwtaHVudGVyNA==",
        // As the name, without a password.
        _ => "Basic dXJsLWh1bnRlcjU6",
    }
}

fn told(origin: &Origin, path: &str) -> Vec<Option<String>> {
    origin.seen(path).iter().map(|seen| seen.header("authorization").map(str::to_owned)).collect()
}

/// Goal: neither the file's secrets nor those of an address reach another host, an event, an answer about the call, a
/// dead letter or the log, however much is logged. Method: each is sent where it belongs, then searched for everywhere.
async fn credentials_go_to_their_own_host_and_are_written_nowhere(engine: Engine) {
    let (pbx, files, other) = (Origin::start().await, Origin::start().await, Origin::start().await);
    let file = harness::new_directory("credentials").join("credentials.toml");
    let (at_pbx, at_files) = (pbx.address(), files.address());
    let text = format!(
        "[\"{at_pbx}\"]\nuser = \"u\"\npassword = \"pbx-hunter2\"\ninsecure = true\n\
         [\"{at_files}\"]\nbearer = \"token-hunter3\"\ninsecure = true\n"
    );
    write_private(&file, &text);
    let settings = [
        ("CALLVINE_FETCH_CREDENTIALS", file.to_str().unwrap()),
        ("CALLVINE_FETCH_ATTEMPTS", "1"),
        ("RUST_LOG", "trace"),
    ];
    let site = engine.up(&settings).await;
    let events = match site.engine.amqp_url() {
        Some(url) => Some(every_event(url).await),
        None => None,
    };
    let wav = || Answer::wav(telephone_sound(1));
    let to = |to: String| Answer::Redirect { status: 302, to };
    let with = |user: &str, url: String| url.replace("http://", &format!("http://{user}@"));
    let urls = [
        pbx.serve("/by-file", wav()),
        files.serve("/by-token", wav()),
        other.serve("/by-nobody", wav()),
        // To a host with a token of its own, to one with none, and back to where the address's own password is good.
        pbx.serve("/to-files", to(files.serve("/from-pbx", wav()))),
        files.serve("/to-other", to(other.serve("/from-files", wav()))),
        with("u:url-hunter4", pbx.serve("/by-address", wav())),
        with("url-hunter5", other.serve("/by-name", wav())),
        with("u:url-hunter4", pbx.serve("/gone", Answer::Status(410))),
    ];
    let ids = site.post(&urls).await;
    let recordings = site.all_settled(&ids).await;
    let stored = recordings.iter().filter(|recording| recording["status"] == "stored").count();
    assert_eq!(stored, urls.len() - 1, "{recordings:?}");

    let token = "Bearer token-hunter3";
    for (origin, path, expected) in [
        (&pbx, "/by-file", Some(basic("pbx-hunter2"))),
        (&files, "/by-token", Some(token)),
        (&other, "/by-nobody", None),
        (&pbx, "/to-files", Some(basic("pbx-hunter2"))),
        (&files, "/from-pbx", Some(token)),
        (&files, "/to-other", Some(token)),
        (&other, "/from-files", None),
        (&pbx, "/by-address", Some(basic("url-hunter4"))),
        (&other, "/by-name", Some(basic("url-hunter5"))),
        (&pbx, "/gone", Some(basic("url-hunter4"))),
    ] {
        assert_eq!(told(origin, path), [expected.map(str::to_owned)], "{path}");
    }

    let mut written = said_of(&site, &ids).await;
    if let Some((_connection, events)) = events {
        // Each call is created, each recording stored or given up, and an analysis requested of those that are stored.
        for _ in 0..3 * ids.len() - 1 {
            written.push(
                harness::obtained(PATIENCE, "an event comes", async || next_event(&events).await).await,
            );
        }
    }
    assert_ours_alone_are_verbose(&site).await;
    written.push(site.log());
    assert!(written.iter().all(|text| !text.is_empty()));
    for text in &written {
        for secret in SECRETS {
            let line = text.lines().find(|line| line.contains(secret) || line.contains(basic(secret)));
            assert_eq!(line, None, "{secret} is written down");
        }
    }
    site.stop().await;
}

/// The broker's library prints its password at these levels, others the headers of requests.
async fn assert_ours_alone_are_verbose(site: &Site) {
    // A refused request is logged at one of them.
    assert_eq!(site.call(999_999).await, Value::Null);
    let log = site.log();
    let of_library = log.lines().find(|line| {
        [" TRACE ", " DEBUG "].iter().any(|level| line.contains(level)) && !line.contains("callvine")
    });
    assert_eq!(of_library, None, "a library logs what it sends");
    assert!(log.contains(" DEBUG ") || log.contains(" TRACE "), "our own crates follow the filter: {log}");
}

/// Every answer of the system about these calls, of which the last was given up.
async fn said_of(site: &Site, ids: &[i64]) -> Vec<String> {
    let mut said = Vec::new();
    for id in ids {
        said.push(site.call(*id).await);
    }
    said.extend(site.dead_letters(&["list"]).await);
    said.extend(site.dead_letters(&["show", &format!("r{}", ids[ids.len() - 1])]).await);
    said.iter().map(Value::to_string).collect()
}

/// A queue of one's own for all events from now on.
async fn every_event(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(EVENTS.into(), exclusive, FieldTable::default()).await.unwrap();
    let (options, arguments) = Default::default();
    channel
        .queue_bind(EVENTS.into(), "callvine.events".into(), "#".into(), options, arguments)
        .await
        .unwrap();
    (connection, channel)
}

async fn next_event(events: &Channel) -> Option<String> {
    let message = events.basic_get(EVENTS.into(), BasicGetOptions { no_ack: true }).await.unwrap()?;
    Some(String::from_utf8(message.data.clone()).unwrap())
}

async fn a_host_behind_tls_does_not_send_anybody_out_of_it(engine: Engine) {
    let company = Authority::new();
    let path = harness::new_directory("trusted").join("company.pem");
    std::fs::write(&path, company.pem()).unwrap();
    let settings = [("SSL_CERT_FILE", path.to_str().unwrap()), ("CALLVINE_FETCH_ATTEMPTS", "2")];
    let site = engine.up(&settings).await;
    let tls = || company.certify("127.0.0.1", Validity::Now);
    let plain = Origin::start().await;
    let sound = plain.serve("/call.wav", Answer::wav(telephone_sound(1)));
    let secure = SecureOrigin::start(tls(), Protocol::Http2, telephone_sound(1), &[]).await;
    let down = SecureOrigin::redirecting(tls(), &sound).await;
    let across = SecureOrigin::redirecting(tls(), &secure.url()).await;
    let up = plain.serve("/up", Answer::Redirect { status: 301, to: secure.url() });
    let signed = |url: String| url.replace("://", "://user:pass@");
    let ids = site.post(&[signed(down.url()), signed(across.url()), signed(up)]).await;
    let recordings = site.all_settled(&ids).await;
    assert_eq!(recordings[0]["reason"], "blocked_address", "{}", recordings[0]);
    assert_eq!(recordings[0]["attempts"], 1);
    assert_eq!(plain.count("/call.wav"), 0);
    assert!(recordings[1..].iter().all(|recording| recording["status"] == "stored"), "{recordings:?}");
    let basic = Some("Basic dXNlcjpwYXNz");
    assert_eq!(across.seen()[0].authorization.as_deref(), basic);
    assert_eq!(told(&plain, "/up"), [basic.map(str::to_owned)]);
    assert_eq!(secure.seen().len(), 2);
    let mut told: Vec<_> = secure.seen().iter().map(|seen| seen.authorization.clone()).collect();
    told.sort();
    let expected = [None, basic.map(str::to_owned)];
    assert_eq!(told, expected, "another port is another origin, and HTTPS at the same host is its own");
    site.stop().await;
}

/// Goal: an operator's secrets are not sent in the clear, and one client's do not fetch for another. Method: hosts with
/// and without TLS, each with an entry that says something else of it, are asked by the client `test`.
async fn credentials_of_the_file_go_over_tls_and_to_their_client_alone(engine: Engine) {
    let company = Authority::new();
    let directory = harness::new_directory("credentials");
    let (authority, file) = (directory.join("company.pem"), directory.join("credentials.toml"));
    std::fs::write(&authority, company.pem()).unwrap();
    let secure = async || {
        let tls = company.certify("127.0.0.1", Validity::Now);
        SecureOrigin::start(tls, Protocol::Http1, telephone_sound(1), &[]).await
    };
    let secured = [secure().await, secure().await, secure().await];
    let plain = [Origin::start().await, Origin::start().await, Origin::start().await];
    let secured_entries = ["", "client = \"test\"", "client = \"production\""];
    let plain_entries = [
        "insecure = false",
        "insecure = true\nclient = \"test\"",
        "insecure = true\nclient = \"production\"",
    ];
    let mut text = String::new();
    let mut urls = Vec::new();
    for (origin, more) in secured.iter().zip(secured_entries) {
        let host = origin.url().replace("https://", "").replace("/call.wav", "");
        text.push_str(&format!("[\"{host}\"]\nbearer = \"token\"\n{more}\n"));
        urls.push(origin.url());
    }
    for (origin, more) in plain.iter().zip(plain_entries) {
        text.push_str(&format!("[\"{}\"]\nbearer = \"token\"\n{more}\n", origin.address()));
        urls.push(origin.serve("/call.wav", Answer::wav(telephone_sound(1))));
    }
    write_private(&file, &text);
    let settings = [
        ("SSL_CERT_FILE", authority.to_str().unwrap()),
        ("CALLVINE_FETCH_CREDENTIALS", file.to_str().unwrap()),
    ];
    let site = engine.up(&settings).await;
    let ids = site.post(&urls).await;
    for recording in site.all_settled(&ids).await {
        assert_eq!(recording["status"], "stored", "{recording}");
    }
    let token = Some("Bearer token".to_owned());
    let securely = secured.iter().map(|origin| origin.seen().remove(0).authorization);
    assert_eq!(securely.collect::<Vec<_>>(), [token.clone(), token.clone(), None]);
    let plainly = plain.iter().map(|origin| told(origin, "/call.wav").remove(0));
    assert_eq!(plainly.collect::<Vec<_>>(), [None, token, None]);
    site.stop().await;
}

/// Writes a file that the program's own user alone can read, as the program asks of credentials.
fn write_private(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}
