//! `callvine keys`: a key's life from `create` over `rotate` to `revoke`, and what each key may do.

use std::path::Path;
use std::time::Duration;

use harness::{Callvine, Finished, PATIENCE, Postgres, TEST_KEY, eventually, new_directory};
use reqwest::Method;
use serde_json::{Value, json};

use crate::http::{Answer, Up, call, client};

const FIELDS: [&str; 11] = [
    "id",
    "client",
    "role",
    "env",
    "prefix",
    "created_at",
    "expires_at",
    "last_used_at",
    "revoked_at",
    "rate",
    "dedupe",
];

async fn keys(directory: &Path, arguments: &[&str]) -> Finished {
    Callvine::new("keys").args(arguments).directory(directory).run().await
}

/// The objects that a command prints, of which each must have all fields in their order.
async fn objects(directory: &Path, arguments: &[&str]) -> Vec<Value> {
    let finished = keys(directory, &[arguments, &["--json"]].concat()).await;
    finished.assert_code(0);
    let lines = finished.stdout.lines();
    lines
        .map(|line| {
            let places: Vec<_> =
                FIELDS.iter().map(|name| line.find(&format!("\"{name}\":")).expect(name)).collect();
            assert!(places.is_sorted(), "{line}");
            serde_json::from_str(line).unwrap()
        })
        .collect()
}

async fn created(directory: &Path, arguments: &[&str]) -> Value {
    objects(directory, &[&["create", "--client", "acme"], arguments].concat()).await.remove(0)
}

async fn post(up: &Up, key: &str) -> Answer {
    up.send(Method::POST, "/webhook.php", &[("X-API-Key", key)], call(&json!({})).to_string()).await
}

async fn get(up: &Up, key: &str, path: &str) -> Answer {
    up.send(Method::GET, path, &[("X-API-Key", key)], "").await
}

/// Waits until a new key counts.
async fn counts(up: &Up, key: &str) {
    eventually(PATIENCE, "the new key counts", async || get(up, key, "/calls/1").await.status == 404).await;
}

#[tokio::test]
async fn a_key_lives_from_create_to_revoke() {
    let up = Up::start().await;
    let directory = up.process.directory();
    let printed = keys(directory, &["create", "--client", "acme", "--env", "live"]).await;
    printed.assert_code(0);
    let key = printed.stdout.trim().to_owned();
    assert_eq!(printed.stdout, format!("{key}\n"), "it stands alone");
    assert!(key.starts_with("cv_live_") && key.len() == 46, "{key}");
    let test_key = keys(directory, &["create", "--client", "other", "--env", "test"]).await.stdout;
    assert!(test_key.starts_with("cv_test_"));
    counts(&up, &key).await;

    // A client's calls are its own, and the published keys have had their time.
    let id = post(&up, &key).await.json()["data"]["id"].clone();
    let path = format!("/calls/{id}");
    assert_eq!(get(&up, &key, &path).await.json()["data"]["env"], "live");
    assert_eq!(get(&up, test_key.trim(), &path).await.status, 404);
    assert_eq!(get(&up, TEST_KEY, &path).await.status, 401);
    let of_test = post(&up, test_key.trim()).await.json()["data"]["id"].clone();
    let shown = get(&up, test_key.trim(), &format!("/calls/{of_test}")).await.json();
    assert_eq!(shown["data"]["env"], "test");

    eventually(PATIENCE, "its use is written down", async || {
        let listed = keys(directory, &["list", "--json"]).await.stdout;
        assert!(!listed.contains(&key), "a key is printed once");
        objects(directory, &["list"]).await[0]["last_used_at"].is_string()
    })
    .await;
    let listed = objects(directory, &["list"]).await;
    assert_eq!(listed.len(), 2);
    let line = &listed[0];
    assert_eq!(
        (&line["client"], &line["role"], &line["env"]),
        (&json!("acme"), &json!("provider"), &json!("live"))
    );
    for absent in ["revoked_at", "expires_at", "rate", "dedupe"] {
        assert_eq!(line[absent], Value::Null, "{absent}");
    }
    assert!(key.starts_with(line["prefix"].as_str().unwrap()) && line["created_at"].is_string());

    let id = line["id"].to_string();
    let revoked = objects(directory, &["revoke", &id]).await;
    assert!(revoked[0]["revoked_at"].is_string() && revoked[0]["id"] == line["id"]);
    eventually(PATIENCE, "the revoked key is refused", async || post(&up, &key).await.status == 401).await;
    let again = keys(directory, &["revoke", &id]).await;
    again.assert_code(1);
    assert!(again.stderr.contains(&format!("there is no key with id {id}")), "{}", again.stderr);
}

#[tokio::test]
async fn a_key_is_replaced_without_a_gap() {
    let up = Up::start().await;
    let directory = up.process.directory();
    let old = created(directory, &["--role", "analyst", "--rate", "0.5", "--dedupe", "24h"]).await;
    assert_eq!((&old["rate"], &old["dedupe"], &old["role"]), (&json!(0.5), &json!(86400), &json!("analyst")));
    let id = old["id"].to_string();
    let new = objects(directory, &["rotate", &id]).await.remove(0);
    for same in ["client", "role", "env", "rate", "dedupe"] {
        assert_eq!(new[same], old[same], "{same}");
    }
    assert!(new["id"] != old["id"] && new["key"] != old["key"]);
    let (old_key, new_key) = (old["key"].as_str().unwrap(), new["key"].as_str().unwrap());
    counts(&up, old_key).await;
    counts(&up, new_key).await;
    let listed = objects(directory, &["list"]).await;
    let time = |value: &Value| value.as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let overlap = time(&listed[0]["expires_at"]) - time(&listed[1]["created_at"]);
    assert_eq!((overlap.num_hours(), &listed[1]["expires_at"]), (24, &Value::Null));

    // The key alone, as with `create`, and no overlap.
    let third =
        keys(directory, &["rotate", &new["id"].to_string(), "--overlap", "0s", "--expires", "90d"]).await;
    third.assert_code(0);
    eventually(PATIENCE, "the replaced key is refused", async || {
        get(&up, new_key, "/calls/1").await.status == 401
    })
    .await;
    assert_eq!(get(&up, third.stdout.trim(), "/calls/1").await.status, 404);
    assert_eq!(get(&up, old_key, "/calls/1").await.status, 404, "it has its day");
    keys(directory, &["rotate", &new["id"].to_string()]).await.assert_code(1);
    let listed = objects(directory, &["list"]).await;
    assert_eq!((time(&listed[2]["expires_at"]) - time(&listed[2]["created_at"])).num_days(), 90);
}

#[tokio::test]
async fn what_can_not_be_a_key_is_refused_with_the_flag_named() {
    let directory = new_directory("refused-keys");
    for (arguments, named) in [
        (&["create", "--client", "production"][..], "--client"),
        (&["create", "--client", "test", "--env", "test"], "--client"),
        (&["create", "--client", ""], "--client"),
        (&["create", "--client", " acme"], "--client"),
        (&["create", "--client", "a\nb"], "--client"),
        (&["create", "--client", "acme", "--rate", "0"], "--rate"),
        (&["create", "--client", "acme", "--rate", "many"], "--rate"),
        (&["create", "--client", "acme", "--dedupe", "0s"], "--dedupe"),
        (&["create", "--client", "acme", "--expires", "soon"], "--expires"),
        (&["create", "--client", "acme", "--role", "admin"], "--role"),
        (&["rotate", "1", "--overlap", "never"], "--overlap"),
    ] {
        let finished = keys(&directory, arguments).await;
        finished.assert_code(2);
        assert!(finished.stderr.contains(named), "{arguments:?}: {}", finished.stderr);
    }
    assert!(keys(&directory, &["create", "--client", "production"]).await.stderr.contains("published"));
    assert_eq!(keys(&directory, &["list", "--json"]).await.stdout, "");
}

#[tokio::test]
async fn every_key_command_shows_an_example() {
    let directory = new_directory("key-help");
    for command in ["create", "list", "rotate", "revoke"] {
        let help = keys(&directory, &[command, "--help"]).await;
        assert!(help.stdout.contains(&format!("Example:\n  callvine keys {command}")), "{}", help.stdout);
    }
}

#[tokio::test]
async fn an_expired_key_is_refused_and_an_analyst_posts_nothing() {
    let up = Up::start().await;
    let directory = up.process.directory();
    let analyst = created(directory, &["--role", "analyst"]).await;
    let short = created(directory, &["--expires", "1s"]).await;
    let (analyst, short) = (analyst["key"].as_str().unwrap(), short["key"].as_str().unwrap());
    counts(&up, analyst).await;
    eventually(PATIENCE, "the key has expired", async || get(&up, short, "/calls/1").await.status == 401)
        .await;
    let refused = post(&up, analyst).await;
    refused.assert(403, r#"{"error":"Forbidden","message":"The key of an analyst can't post calls"}"#);
}

#[tokio::test]
async fn a_client_that_waits_as_long_as_it_is_told_is_let_through() {
    let up = Up::start().await;
    let limited = created(up.process.directory(), &["--rate", "0.2"]).await;
    let key = limited["key"].as_str().unwrap();
    counts(&up, key).await;
    // One in five seconds; on a machine that takes longer for a post, some more are needed.
    let mut refused = post(&up, key).await;
    while refused.status == 201 {
        refused = post(&up, key).await;
    }
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]), (429, &json!("Too many requests")));
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=5).contains(&wait), "{wait}");
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(post(&up, key).await.status, 201);
}

/// A gateway of its own on this database. The broker is away, which changes no answer.
async fn gateway(database_url: &str) -> Up {
    let program = Callvine::new("gateway").env("DATABASE_URL", database_url);
    let mut process = program.env("AMQP_URL", "amqp://127.0.0.1:1").start().await;
    let url = process.public().await;
    Up { process, url, client: client() }
}

#[tokio::test]
async fn a_key_counts_and_ends_at_every_gateway() {
    let database_url = Postgres::shared().await.database().await;
    let gateways = [gateway(&database_url).await, gateway(&database_url).await];
    let command = async |arguments: &[&str]| {
        let finished = Callvine::new("keys").args(arguments).env("DATABASE_URL", &database_url).run().await;
        finished.assert_code(0);
        finished.stdout
    };
    let key = command(&["create", "--client", "acme"]).await;
    for gateway in &gateways {
        counts(gateway, key.trim()).await;
    }
    let path = format!("/calls/{}", post(&gateways[0], key.trim()).await.json()["data"]["id"]);
    let other: Value =
        serde_json::from_str(&command(&["create", "--client", "other", "--json"]).await).unwrap();
    let other_key = other["key"].as_str().unwrap();
    counts(&gateways[1], other_key).await;
    assert_eq!(get(&gateways[1], key.trim(), &path).await.status, 200);
    assert_eq!(get(&gateways[1], other_key, &path).await.status, 404);
    command(&["revoke", &other["id"].to_string()]).await;
    for gateway in &gateways {
        eventually(PATIENCE, "the revoked key is refused", async || {
            get(gateway, other_key, "/calls/1").await.status == 401
        })
        .await;
    }
}
