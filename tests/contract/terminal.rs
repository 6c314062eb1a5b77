//! Commands whose reader leaves before the end, as `head -1` does: they end quietly, with the code of a tool that was
//! ended by its broken pipe.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, pipe};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use harness::{Callvine, Database};

/// 128 + SIGPIPE, as a shell reports it.
const READER_LEFT: i32 = 141;

/// Long enough for a loaded machine; reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(60);

/// More keys than a pipe holds (64 KiB), at some hundred bytes a line.
const MANY_KEYS: &str = "
    insert into api_keys (client, environment, prefix, digest, created_at)
    with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 2000)
    select 'client ' || n, 'test', 'cv_test_' || n, randomblob(32), '2026-01-01 12:00:00' from numbers";

const TWO_CALLS: &str = "
    insert into call_logs (client, from_phone, to_phone, handled_by, start_time, end_time, recording_url, title, created_at)
    select 'client', '1', '2', 'x', '2026-01-01 12:00:00', '2026-01-01 12:00:00', 'https://example.com/', 'x',
           '2026-01-01 12:00:00'
    from (select 1 union all select 2)";

const GIVEN_UP: &str = "
    insert into recordings (call_id, status, attempts, reason, last_error, failed_at)
    select id, 'failed', 1, 'not_found', 'the host answered 404', '2026-01-01 12:00:00' from call_logs";

/// A command of the program, in this directory.
fn program(directory: &Path, arguments: &[&str]) -> tokio::process::Command {
    let built = || OsString::from(env!("CARGO_BIN_EXE_callvine-under-test"));
    let mut command = tokio::process::Command::new(std::env::var_os("CALLVINE_BIN").unwrap_or_else(built));
    command.env_clear().args(arguments).current_dir(directory).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A pipe that nobody reads.
fn broken_pipe() -> Stdio {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    writer.into()
}

/// How a command ends whose output nobody reads, and what it says on standard error.
async fn unread(directory: &Path, arguments: &[&str]) -> (ExitStatus, String) {
    let mut command = program(directory, arguments);
    let child = command.stdout(broken_pipe()).stderr(Stdio::piped()).spawn().unwrap();
    let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    (ended.status, String::from_utf8(ended.stderr).unwrap())
}

/// The database of an embedded system with two recordings that were given up.
async fn database(directory: &Path) -> Database {
    Callvine::new("migrate").directory(directory).run().await.assert_code(0);
    let database = Database::embedded(directory);
    database.execute(TWO_CALLS).await;
    database.execute(GIVEN_UP).await;
    database
}

#[tokio::test]
async fn a_command_ends_quietly_when_its_reader_has_left() {
    let directory = harness::new_directory("unread");
    let database = database(&directory).await;
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["audit", "--help"],
        &["keys", "create", "--client", "acme"],
        &["keys", "list"],
        &["keys", "list", "--json"],
        &["dead-letters", "list"],
        &["dead-letters", "list", "--json"],
        &["dead-letters", "show", "r1"],
        &["dead-letters", "show", "r1", "--json"],
        &["audit"],
        &["audit", "--json", "--stuck-after", "0s"],
        // The last ones, since they change what the others show.
        &["dead-letters", "retry", "r1"],
        &["dead-letters", "retry", "--all", "--json"],
    ] {
        let (status, said) = unread(&directory, arguments).await;
        assert_eq!((status.code(), said.as_str()), (Some(READER_LEFT), ""), "{arguments:?}");
    }
    assert_eq!(database.count("from recordings where status = 'failed'").await, Some(0), "both were queued");
}

#[tokio::test]
async fn a_reader_that_takes_one_line_of_many_gets_it() {
    let directory = harness::new_directory("head");
    database(&directory).await.execute(MANY_KEYS).await;
    let (reader, writer) = pipe().unwrap();
    let mut command = program(&directory, &["keys", "list", "--json"]);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    // It holds the writing end too.
    drop(command);
    let taking = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(reader).read_line(&mut line).map(|_| line)
    });
    let line = tokio::time::timeout(PATIENCE, taking).await.unwrap().unwrap().unwrap();
    let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    assert!(line.contains("\"client 1\"") && line.ends_with('\n'), "{line}");
    assert_eq!(ended.status.code(), Some(READER_LEFT));
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
}

#[tokio::test]
async fn a_command_that_fails_keeps_its_code_when_nobody_reads_why() {
    let directory = harness::new_directory("unread");
    database(&directory).await;
    for (arguments, code) in [
        (&["dead-letters", "show", "r999"][..], 1),
        (&["keys", "revoke", "7"], 1),
        (&["migrate", "--database-url", "mysql://x"], 2),
    ] {
        let mut command = program(&directory, arguments);
        let mut child = command.stdout(broken_pipe()).stderr(broken_pipe()).spawn().unwrap();
        let status = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
}

/// A server's reader is a supervisor's pipe. It may break, and calls are taken all the same.
#[tokio::test]
async fn a_server_goes_on_when_its_reader_has_left() {
    let directory = harness::new_directory("unread");
    let arguments = ["up", "--listen", "127.0.0.1:0", "--admin-listen", "off"];
    let mut command = program(&directory, &arguments);
    let mut child = command
        .env("RUST_LOG", "callvine=debug")
        .stdout(broken_pipe())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = tokio::io::BufReader::new(child.stderr.take().unwrap());
    let unread = async {
        use tokio::io::AsyncBufReadExt;
        let mut line = String::new();
        while !line.contains("nobody reads where the public listener is") {
            line.clear();
            assert_ne!(log.read_line(&mut line).await.unwrap(), 0, "it has ended");
        }
    };
    tokio::time::timeout(PATIENCE, unread).await.unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    child.kill().await.unwrap();
}
