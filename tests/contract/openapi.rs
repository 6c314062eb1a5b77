//! The published description of the HTTP interface: schemathesis holds the program to it, with every check that it has.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::new_directory;
use reqwest::header::HeaderValue;

use crate::http::client;
use crate::wire::{Engine, finished};

const DOCUMENT: &str = "docs/openapi.json";

/// The same requests on each run.
const SEED: &str = "16";

/// Most requests of one operation in each phase: with these the public listener takes half a minute of one core.
const EXAMPLES: &str = "30";

const ADMIN_HEADER: &str = "Authorization: Bearer a token";

const JSON: HeaderValue = HeaderValue::from_static("application/json");

fn published() -> String {
    std::fs::read_to_string(root().join(DOCUMENT)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A program of the environment in which tests/setup.sh keeps schemathesis.
fn tool(name: &str) -> PathBuf {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).unwrap();
    let tool = cache.join("callvine-tests/schemathesis/bin").join(name);
    assert!(tool.exists(), "{} is missing: run tests/setup.sh", tool.display());
    tool
}

/// Holds the program to the operations of a document that have these tags, with all checks; the exit code and the output.
async fn check(document: &Path, address: &str, header: &str, tags: &[&str]) -> (i32, String) {
    let mut command = Command::new(tool("schemathesis"));
    command.arg("run").arg(document).args(["--url", address, "--header", header]);
    command.args(["--checks", "all", "--seed", SEED, "--max-examples", EXAMPLES]);
    // Python 3.11 fails now and then where two threads compile at once.
    command.args([
        "--workers",
        "1",
        "--generation-database",
        "none",
        "--request-timeout",
        "60",
        "--no-color",
    ]);
    // These judge how fast requests are made up, which depends on the machine.
    command.args(["--suppress-health-check", "all"]);
    for tag in tags {
        command.args(["--include-tag", tag]);
    }
    command.env("SCHEMATHESIS_HOOKS", "hooks").env("PYTHONPATH", root().join("tests/openapi"));
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("NO_PROXY", "*");
    // It keeps what it found where it runs, and begins the next run there with it.
    command.current_dir(new_directory("schemathesis"));
    finished(command).await
}

async fn assert_described(address: &str, header: &str, tags: &[&str]) {
    let (code, output) = check(&root().join(DOCUMENT), address, header, tags).await;
    assert_eq!(code, 0, "{output}");
}

#[tokio::test]
async fn the_public_listener_is_as_it_is_described() {
    let mut engine = Engine::embedded(&[]).await;
    let header = format!("X-API-Key: {}", engine.key);
    assert_described(&engine.process.public().await, &header, &["webhook", "calls", "description"]).await;
}

#[tokio::test]
async fn the_admin_listener_is_as_it_is_described() {
    let mut engine = Engine::embedded(&[("CALLVINE_ADMIN_TOKEN", "a token")]).await;
    let address = engine.process.admin().await;
    assert_described(&address, ADMIN_HEADER, &["admin", "description"]).await;

    // A header that is described otherwise than it is sent.
    let wrong = published().replace(r#""const":"no-store""#, r#""const":"no-cache""#);
    assert_ne!(wrong, published());
    let path = new_directory("openapi").join("wrong.json");
    std::fs::write(&path, wrong).unwrap();
    let (code, output) = check(&path, &address, ADMIN_HEADER, &["admin"]).await;
    assert_eq!(code, 1, "{output}");
}

#[tokio::test]
async fn the_description_that_is_served_is_the_published_one() {
    let mut compare = Command::new(tool("python"));
    compare.arg(root().join("tests/openapi/to_json.py")).arg("--check");
    let (code, output) = finished(compare).await;
    assert_eq!(code, 0, "{output}");

    // The admin listener, too, asks for no token.
    let mut engine = Engine::embedded(&[("CALLVINE_ADMIN_TOKEN", "a token")]).await;
    for address in [engine.process.public().await, engine.process.admin().await] {
        let served = client().get(format!("{address}/openapi.json")).send().await.unwrap();
        assert_eq!((served.status().as_u16(), &served.headers()["content-type"]), (200, &JSON));
        assert_eq!(served.text().await.unwrap(), published());
    }
}

/// The runs above choose operations by these tags; one without them would never be asked.
#[test]
fn every_operation_has_a_tag_of_a_listener() {
    let document: serde_json::Value = serde_json::from_str(&published()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "servers") {
            let tag = operation["tags"][0].as_str().unwrap_or_default();
            assert!(["webhook", "calls", "description", "admin"].contains(&tag), "{method} {path}: {tag:?}");
        }
    }
}
