//! Files and the arguments of a process, as other users of the machine can see them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use harness::{Callvine, new_directory};
use serde_json::json;

use crate::http::{Up, call, client};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Everything below a directory, itself included.
fn below(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![directory.to_owned()];
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(below(&path)) } else { found.push(path) }
    }
    found
}

/// A file with this text and mode.
fn file(text: &str, mode: u32) -> String {
    let path = new_directory("secret").join("file");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_the_program_creates_is_for_its_user_alone() {
    let up = Up::start().await;
    assert_eq!(up.post(call(&json!({})).to_string()).await.status, 201);
    let data = up.process.directory().join("callvine-data");
    let found = below(&data);
    for name in ["callvine.db", "callvine.db-wal", "callvine.db.lock"] {
        assert!(found.contains(&data.join(name)), "{name} is not among {found:?}");
    }
    for path in found {
        assert_eq!(mode(&path) & 0o077, 0, "{} lets others in", path.display());
    }
    assert!(!up.process.stderr().contains("chmod"), "{}", up.process.stderr());
}

#[tokio::test]
async fn an_open_directory_is_warned_about_and_left_alone() {
    let directory = new_directory("open");
    let mut process = Callvine::new("up").env("CALLVINE_DATA_DIR", &directory).start().await;
    process.assert_running();
    let log = process.stderr();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("chmod go=")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains(directory.to_str().unwrap()), "{log}");
    assert_eq!(mode(&directory), 0o755);
}

#[tokio::test]
async fn a_secret_given_as_a_flag_is_not_among_the_arguments_of_the_process() {
    for arguments in [vec!["--admin-token", "hunter4"], vec!["--admin-token=hunter4"]] {
        let mut process = Callvine::new("up").args(arguments).start().await;
        let arguments = fs::read(format!("/proc/{}/cmdline", process.pid().as_raw_pid())).unwrap();
        let arguments = String::from_utf8(arguments).unwrap();
        assert!(arguments.contains("up") && !arguments.contains("hunter4"), "{arguments}");
        let metrics = format!("{}/metrics", process.admin().await);
        let client = client();
        let status = async |token: &str| {
            client.get(&metrics).bearer_auth(token).send().await.unwrap().status().as_u16()
        };
        assert_eq!((status("hunter4").await, status("other").await), (200, 401));
    }
}

#[tokio::test]
async fn a_secret_can_come_from_a_file() {
    let token = file("hunter5\n", 0o600);
    let mut process = Callvine::new("up").env("CALLVINE_ADMIN_TOKEN_FILE", token).start().await;
    let metrics = format!("{}/metrics", process.admin().await);
    let client = client();
    let status =
        async |token: &str| client.get(&metrics).bearer_auth(token).send().await.unwrap().status().as_u16();
    assert_eq!((status("hunter5").await, status("other").await), (200, 401));
}

#[tokio::test]
async fn a_secret_that_cannot_be_used_ends_the_start_and_is_not_shown() {
    let good = file("hunter6", 0o600);
    let readable = file("[\"host.example\"]\nbearer = \"hunter6\"\n", 0o644);
    let empty = file(" \n", 0o600);
    let cases: [(&[(&str, &str)], &str); 9] = [
        (
            &[("CALLVINE_ADMIN_TOKEN", "hunter6"), ("CALLVINE_ADMIN_TOKEN_FILE", &good)],
            "CALLVINE_ADMIN_TOKEN_FILE",
        ),
        (&[("DATABASE_URL", "postgres://u:hunter6@h/x"), ("DATABASE_URL_FILE", &good)], "DATABASE_URL_FILE"),
        (&[("AMQP_URL", "amqp://u:hunter6@h/x"), ("AMQP_URL_FILE", &good)], "AMQP_URL_FILE"),
        (&[("AMQP_URL_FILE", "/does/not/exist")], "AMQP_URL_FILE"),
        (&[("CALLVINE_ADMIN_TOKEN_FILE", &empty)], "CALLVINE_ADMIN_TOKEN_FILE"),
        (&[("CALLVINE_ADMIN_TOKEN", "replace-me")], "CALLVINE_ADMIN_TOKEN"),
        (&[("DATABASE_URL", "postgres://u:replace-me@h/x")], "DATABASE_URL"),
        (&[("AMQP_URL", "amqp://u:change-me@h/x")], "AMQP_URL"),
        (&[("CALLVINE_FETCH_CREDENTIALS", &readable)], "CALLVINE_FETCH_CREDENTIALS"),
    ];
    for (variables, named) in cases {
        let start = Callvine::new("up");
        let finished =
            variables.iter().fold(start, |start, (name, value)| start.env(name, value)).run().await;
        finished.assert_code(2);
        assert!(finished.stderr.contains(named), "{named} is not named: {}", finished.stderr);
        assert!(!finished.stderr.contains("hunter6"), "{variables:?}: {}", finished.stderr);
    }
}
