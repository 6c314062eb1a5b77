//! Counts the instructions of one accepted call from its body to its answer: parse, validate, write. The same program
//! has the same count every time, so even a busy machine shows a regression.
//!
//! Without arguments it runs itself under valgrind's callgrind, once for some calls and once for more, and fails when
//! the difference for each call is above [`INSTRUCTIONS_MAX`]. It runs itself with `--calls N`.
//!
//! It depends on `callvine-domain` alone, so an optimised build takes less than a minute.

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use callvine_domain::api_key::Environment;
use callvine_domain::call::{Call, CallId, NewCall, RecordingUrl};
use chrono::DateTime;

/// Most instructions that a call may cost. Raise it only for a reason that the commit tells; lower it when a call costs
/// a tenth less.
const INSTRUCTIONS_MAX: u64 = 20_000;

/// Calls of the two runs; their difference leaves out the work that is done once.
const CALLS: [u64; 2] = [1_000, 3_000];

/// Calls as published, and with fields that need more work: escapes, a name beyond ASCII, a user name in the URL.
const BODIES: [&str; 2] = [
    r#"{"from_phone":"+19087271234","to_phone":"+18006005678","handled_by":"Agent Smith","department":"Customer Service","start_time":"2024-01-15 09:30:00","end_time":"2024-01-15 09:45:30","recording_url":"https://example.com/recordings/2024/01/15/call-000123.wav?signature=0123456789abcdef"}"#,
    r#"{"from_phone":"+19087271234","to_phone":18006005678,"handled_by":"Zo\u00eb \"Z\" Müller","start_time":"2024-02-29 23:59:59","end_time":"2024-03-01 00:10:00","recording_url":"https://user:secret@pbx.example.com:8443/monitor/call.wav","unknown":{"nested":[1,2,3]}}"#,
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [] => guard(),
        [flag, calls] if flag == "--calls" => {
            calls.parse().context("--calls takes a number").and_then(answer)
        }
        _ => Err(anyhow::anyhow!("it takes no arguments, or --calls N")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn guard() -> anyhow::Result<()> {
    let [few, many] = CALLS;
    let per_call = (counted(many)? - counted(few)?) / (many - few);
    say(&format!("{per_call} instructions a call, of {INSTRUCTIONS_MAX} allowed"));
    ensure!(per_call <= INSTRUCTIONS_MAX, "a call costs more instructions than it may");
    Ok(())
}

/// Counts the instructions of a run with this many calls.
fn counted(calls: u64) -> anyhow::Result<u64> {
    let own = std::env::current_exe().context("cannot find out where this program is")?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args(["--calls", &calls.to_string()])
        .output()
        .context("cannot start valgrind; tests/setup.sh installs it")?;
    let report = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind ended with {}:\n{report}", output.status);
    let total = report
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .context("valgrind counted nothing")?;
    total.1.trim().parse().context("valgrind's count is not a number")
}

/// Parses this many calls and writes their answers.
fn answer(calls: u64) -> anyhow::Result<()> {
    let mut out = Vec::with_capacity(1024);
    for (number, body) in (1..=calls).zip(BODIES.iter().cycle()) {
        let call = NewCall::parse(black_box(body.as_bytes()))?;
        let call = Call {
            id: CallId(i64::try_from(number)?),
            call: Arc::new(call),
            created_at: DateTime::from_timestamp(1_705_312_800, 0).unwrap_or_default(),
            env: Environment::Live,
        };
        out.clear();
        call.write_json(RecordingUrl::AsSent, &mut out);
        black_box(&out);
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a command-line program's own output")]
fn say(text: &str) {
    eprintln!("{text}");
}
