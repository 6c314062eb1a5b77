//! `callvine demo`: takes calls and keeps their real recordings, with nothing else installed.

mod client;
mod origin;
mod table;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Parser};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::client::{Client, KEY};
use crate::args::{Cli, Command};
use crate::commands::serve;
use crate::failure::Failure;
use crate::process::Running;
use crate::telemetry;
use crate::terminal::{self, OutputError};

/// Calls that are posted. One of them has no recording, and one has an error page in its place.
const CALLS: usize = 20;

/// The call whose recording is missing, counted from 0.
const MISSING_AT: usize = 7;

/// The call whose recording is an error page, counted from 0.
const ERROR_PAGE_AT: usize = 13;

/// All recordings are settled well within this; else something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time between two looks at the calls.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The longest that the parts may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Shows the whole of it with real telephony recordings: starts everything in a temporary directory, posts calls
/// and tells what became of each
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Leave it running when the table is printed, until it is interrupted
    #[arg(long)]
    keep: bool,
}

/// Runs the demo.
pub(crate) async fn run(demo: &Demo) -> Result<(), Failure> {
    let directory = tempfile::Builder::new().prefix("callvine-demo-").tempdir();
    let directory = directory.context("cannot create a temporary directory")?;
    let origin = origin::serve().await?;
    let plan = serve::plan_of_up(settings(directory.path())?)?;
    let stop = CancellationToken::new();
    let Some(running) = Running::start(plan, telemetry::start_metrics()?, &stop).await? else {
        return Ok(());
    };
    serve::announce(&running);
    let outcome = show(&running, &origin, directory.path()).await;
    if demo.keep && outcome.is_ok() {
        keep(&running, directory.path()).await?;
    }
    running.stop(STOP_TIMEOUT).await;
    outcome
}

/// The settings of `callvine up` in this directory, on free ports. Loopback may be fetched from, since the recordings
/// are there; a missing one is given up after three quick attempts.
fn settings(directory: &Path) -> Result<serve::Up, Failure> {
    let database = format!("sqlite://{}", directory.join("callvine.db").display());
    let directory = directory.display().to_string();
    let arguments = [
        ["callvine", "up"],
        ["--listen", "127.0.0.1:0"],
        ["--admin-listen", "127.0.0.1:0"],
        ["--dev-keys", "on"],
        // Its client speaks no TLS.
        ["--tls-cert", ""],
        ["--tls-key", ""],
        ["--data-dir", &directory],
        ["--database-url", &database],
        ["--amqp-url", ""],
        ["--recordings-url", ""],
        ["--fetch-allow", "127.0.0.0/8"],
        ["--analysis", "on"],
        ["--agent-channel", "left"],
        ["--fetch-attempts", "3"],
        ["--fetch-backoff", "300ms"],
    ];
    let cli =
        Cli::try_parse_from(arguments.as_flattened()).map_err(|error| Failure::Setting(error.to_string()))?;
    match cli.command {
        Command::Up(up) => Ok(*up),
        _ => Err(anyhow!("the demo's own arguments are wrong").into()),
    }
}

/// Posts the calls, waits until all are settled, and prints the outcome of each.
async fn show(running: &Running, origin: &str, directory: &Path) -> Result<(), Failure> {
    let url = running.public_url.as_deref().context("the demo has no public listener")?;
    let client = Client::new();
    let bar = ProgressBar::new(CALLS as u64 * 2);
    progress(&bar, "posting calls");
    bar.set_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}").context("the bar's template is wrong")?,
    );
    let mut posted = Vec::with_capacity(CALLS);
    for number in 0..CALLS {
        posted.push(post(&client, url, &call(number, origin)).await?);
        bar.inc(1);
    }
    progress(&bar, &format!("posted {CALLS} calls; fetching and analysing their recordings"));
    let settled = tokio::time::timeout(PATIENCE, async {
        let mut interval = tokio::time::interval(LOOK_INTERVAL);
        loop {
            interval.tick().await;
            let calls = look(&client, url, &posted).await?;
            let done = calls.iter().filter(|call| is_settled(call)).count();
            bar.set_position((CALLS + done) as u64);
            if done == CALLS {
                return anyhow::Ok(calls);
            }
        }
    });
    let calls = settled.await.context("not all recordings were settled in time")??;
    bar.finish_and_clear();
    table::print(&posted, &calls, directory)?;
    Ok(judge(&calls)?)
}

/// Says how far the demo is: in the bar on a terminal, elsewhere in a line of its own.
fn progress(bar: &ProgressBar, at: &str) {
    if bar.is_hidden() {
        terminal::progress(at);
    } else {
        bar.set_message(at.to_owned());
    }
}

/// An answered post.
struct Posted {
    id: i64,
    answer: String,
}

async fn post(client: &Client, url: &str, call: &Value) -> anyhow::Result<Posted> {
    let (status, body) = client.post(&format!("{url}/webhook.php"), call).await?;
    match body.pointer("/data/id").and_then(Value::as_i64) {
        Some(id) => Ok(Posted { id, answer: status.to_string() }),
        None => bail!("a call was answered {status}: {body}"),
    }
}

async fn look(client: &Client, url: &str, posted: &[Posted]) -> anyhow::Result<Vec<Value>> {
    let mut calls = Vec::with_capacity(posted.len());
    for Posted { id, .. } in posted {
        let mut body = client.get(&format!("{url}/calls/{id}")).await?;
        calls.push(body.get_mut("data").map(Value::take).context("an answer has no data")?);
    }
    Ok(calls)
}

fn is_settled(call: &Value) -> bool {
    let status = |part: &str| call.pointer(part).and_then(Value::as_str).unwrap_or_default().to_owned();
    match status("/recording/status").as_str() {
        "stored" => ["completed", "failed"].contains(&status("/analysis/status").as_str()),
        "failed" => true,
        _ => false,
    }
}

/// Fails unless every recording was kept but the two that can't be.
fn judge(calls: &[Value]) -> anyhow::Result<()> {
    let reasons: Vec<&str> =
        calls.iter().filter_map(|call| call.pointer("/recording/reason").and_then(Value::as_str)).collect();
    if reasons == ["not_found", "not_audio"] {
        Ok(())
    } else {
        bail!(
            "expected one recording to be missing and one to be an error page, but these failed: {reasons:?}"
        )
    }
}

/// A call as a provider would send it. The numbers are reserved for fiction.
fn call(number: usize, origin: &str) -> Value {
    const AGENTS: [&str; 5] = ["Grace", "Priya", "Daniel", "Callum", "Elena"];
    const DEPARTMENTS: [&str; 3] = ["Customer Service", "Technical Support", "Billing"];
    let (recording, seconds) = origin::recording(number);
    let path = match number {
        MISSING_AT => origin::MISSING,
        ERROR_PAGE_AT => origin::ERROR_PAGE.0,
        _ => recording,
    };
    json!({
        "from_phone": format!("20255501{number:02}"),
        "to_phone": "8005550100",
        "handled_by": AGENTS.into_iter().cycle().nth(number),
        "department": DEPARTMENTS.into_iter().cycle().nth(number),
        "start_time": format!("2024-01-15 09:{number:02}:00"),
        "end_time": format!("2024-01-15 09:{number:02}:{seconds:02}"),
        "recording_url": format!("{origin}{path}"),
    })
}

async fn keep(running: &Running, directory: &Path) -> Result<(), Failure> {
    print_hints(running, directory)?;
    Ok(tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?)
}

fn print_hints(running: &Running, directory: &Path) -> Result<(), OutputError> {
    terminal::line(format_args!(
        "\nIt goes on running, with everything in {} until it ends. Post a call of your own:",
        directory.display()
    ))?;
    terminal::line(format_args!(
        "\n  curl {}/webhook.php -H 'X-API-Key: {KEY}' -d '{}'\n",
        running.public_url.as_deref().unwrap_or_default(),
        call(0, "https://example.com"),
    ))?;
    match &running.admin_url {
        Some(url) => terminal::line(format_args!(
            "Health and metrics: {url}/readyz and {url}/metrics. End it with Ctrl-C."
        )),
        None => Ok(()),
    }
}
