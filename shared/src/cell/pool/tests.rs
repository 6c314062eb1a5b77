//! Children that misbehave.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use super::*;

/// A program that misbehaves as this script says; its standard input is the socket. Another process writes it: a program
/// that is open for writing here can't be run, and another test's child may have that open for a moment.
fn program(directory: &TempDir, script: &str) -> PathBuf {
    let path = directory.path().join("program");
    let script = format!("#!/bin/sh\n{script}\n");
    let mut write = Command::new("/bin/sh");
    write.args(["-c", r#"printf %s "$1" >"$0" && chmod 755 "$0""#]).arg(&path).arg(script);
    assert!(write.status().unwrap().success());
    path
}

/// Waits for the request, and takes it.
const TAKE: &str = "/usr/bin/head -c 20 >/dev/null; ";

async fn asked_of(script: &str, longest: Duration) -> Result<Sound, CellError> {
    let directory = tempfile::tempdir().unwrap();
    let cells = Cells::new(program(&directory, script), longest);
    cells.prove(&tempfile::tempfile().unwrap(), 0).await
}

fn has_gone(pid: &str) -> bool {
    !Path::new("/proc").join(pid.trim()).exists()
}

#[tokio::test]
async fn a_child_that_dies_is_told_from_one_that_never_began() {
    let death_of = async |script: &str| match asked_of(script, Duration::from_secs(60)).await {
        Err(CellError::Killed(death)) => Some(death),
        Err(CellError::Unavailable(_)) => None,
        other => panic!("{script}: {other:?}"),
    };
    for (end, death) in [
        ("kill -ABRT $$", Some(Death::Memory)),
        ("kill -XCPU $$", Some(Death::ProcessorTime)),
        ("kill -SEGV $$", Some(Death::Crash)),
        ("kill -KILL $$", Some(Death::Crash)),
        ("exit 101", Some(Death::Crash)),
        ("exit 1", None),
        ("exit 0", None),
        (r"printf '\000\000\000\002{}' >&0; exec /bin/sleep 1000", Some(Death::Nonsense)),
        (r"printf '\377\377\377\377' >&0; exec /bin/sleep 1000", Some(Death::Nonsense)),
    ] {
        assert_eq!(death_of(&format!("{TAKE}{end}")).await, death, "{end}");
    }
    let cells = Cells::new(PathBuf::from("/nowhere/callvine"), Duration::from_secs(1));
    let missing = cells.prove(&tempfile::tempfile().unwrap(), 0).await;
    assert!(matches!(missing, Err(CellError::Unavailable(_))), "{missing:?}");
}

#[tokio::test]
async fn at_the_deadline_the_child_and_whatever_it_started_are_killed_and_reaped() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let script = format!("/bin/sleep 1000 & echo $$ >{0}; echo $! >>{0}; wait", pids.display());
    let cells = Cells::new(program(&directory, &script), Duration::from_secs(3));
    let started = Instant::now();
    let asked = cells.prove(&tempfile::tempfile().unwrap(), 0).await;
    assert!(matches!(asked, Err(CellError::Killed(Death::Deadline))), "{asked:?}");
    assert!(started.elapsed() >= Duration::from_secs(3));
    let pids = std::fs::read_to_string(&pids).unwrap();
    let mut pids = pids.lines();
    assert!(has_gone(pids.next().unwrap()), "reaped, so that no zombie stays");
    // The grandchild is killed too, and reaped by whichever process adopts it: a zombie of another's at most.
    let grandchild = format!("/proc/{}/stat", pids.next().unwrap());
    let gone = async {
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        while std::fs::read_to_string(&grandchild).is_ok_and(|stat| !stat.contains(") Z ")) {
            looks.tick().await;
        }
    };
    timeout(Duration::from_secs(60), gone).await.unwrap();
}

#[tokio::test]
async fn a_child_that_answers_is_asked_again_and_one_that_speaks_unasked_is_replaced() {
    let answer = r#"{"is_worn":false,"result":"empty"}"#;
    let length = format!(r"\000\000\000\{:03o}", answer.len());
    let request = frame::encode(&Budget::of(0, Duration::from_secs(60)).request(Work::Proof)).unwrap().len();
    let serve = |chatter: &str| {
        format!(
            "echo $$ >>\"$0\".starts\nwhile [ \"$(/usr/bin/head -c {request} | /usr/bin/wc -c)\" = {request} ]; do \
             printf '{length}{answer}{chatter}' >&0; done"
        )
    };
    for (chatter, starts) in [("", 1), ("more", 3)] {
        let directory = tempfile::tempdir().unwrap();
        let path = program(&directory, &serve(chatter));
        let cells = Cells::new(path.clone(), Duration::from_secs(60));
        for _ in 0..3 {
            let asked = cells.prove(&tempfile::tempfile().unwrap(), 0).await;
            assert!(matches!(asked, Err(CellError::Refused(callvine_audio::Refusal::Empty))), "{asked:?}");
        }
        let started = std::fs::read_to_string(path.with_extension("starts")).unwrap();
        assert_eq!(started.lines().count(), starts, "{chatter}");
    }
}

#[tokio::test]
async fn a_child_has_no_environment_and_no_open_file_of_ours() {
    let directory = tempfile::tempdir().unwrap();
    let seen = directory.path().join("seen");
    // The shell itself opens the script and adds variables of its own; `env` and `ls` see what it was given.
    let script = format!(
        "/usr/bin/tr '\\000' '\\n' </proc/self/environ >{0}; /bin/ls /proc/$$/fd >>{0}",
        seen.display()
    );
    let _open = tempfile::tempfile().unwrap();
    let cells = Cells::new(program(&directory, &script), Duration::from_secs(60));
    let asked = cells.prove(&tempfile::tempfile().unwrap(), 0).await;
    assert!(matches!(asked, Err(CellError::Unavailable(_))), "{asked:?}");
    let seen = std::fs::read_to_string(seen).unwrap();
    let (variables, files): (Vec<&str>, Vec<&str>) = seen.lines().partition(|line| line.contains('='));
    let ours = variables.iter().filter(|line| !line.starts_with("PWD=") && !line.starts_with("_="));
    assert_eq!(ours.collect::<Vec<_>>(), [&"MIMALLOC_ARENA_EAGER_COMMIT=0"]);
    let files = files.iter().filter(|number| number.parse::<u32>().is_ok_and(|number| number < 10));
    assert_eq!(files.collect::<Vec<_>>(), [&"0", &"1", &"2"], "standard input is the socket");
}
