//! `callvine demo`: the main job, on real recordings, with nothing else installed.

mod client;
mod origin;
mod table;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::client::{Client, KEY};
use crate::args::{Cli, Command, Demo};
use crate::commands::serve;
use crate::failure::Failure;
use crate::process::Running;
use crate::telemetry;

/// How many calls are posted; one of them has no recording, and one an error page in its place.
const CALLS: usize = 20;

/// Which call's recording is missing.
const MISSING_AT: usize = 7;

/// Which call's recording is an error page.
const ERROR_PAGE_AT: usize = 13;

/// All recordings are settled well within this; else something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the calls are asked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How long the parts may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

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
    Ok(outcome?)
}

/// The settings of `callvine up` in this directory, on free ports. Loopback may be fetched from, since the recordings
/// are there; a missing one is given up after three quick tries.
fn settings(directory: &Path) -> Result<crate::args::Up, Failure> {
    let database = format!("sqlite://{}", directory.join("callvine.db").display());
    let directory = directory.display().to_string();
    let arguments = [
        ["callvine", "up"],
        ["--listen", "127.0.0.1:0"],
        ["--admin-listen", "127.0.0.1:0"],
        ["--dev-keys", "on"],
        ["--data-dir", &directory],
        ["--database-url", &database],
        ["--amqp-url", ""],
        ["--recordings-url", ""],
        ["--fetch-allow", "127.0.0.0/8"],
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

/// Posts the calls, waits until all are settled, and prints what became of them.
async fn show(running: &Running, origin: &str, directory: &Path) -> anyhow::Result<()> {
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
    progress(&bar, &format!("posted {CALLS} calls; fetching their recordings"));
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
    table::print(&posted, &calls, directory);
    judge(&calls)
}

/// On a terminal the bar says what it is at; elsewhere it is hidden, and a line does.
#[expect(clippy::print_stderr, reason = "progress is for people, and not what the command has to say")]
fn progress(bar: &ProgressBar, at: &str) {
    if bar.is_hidden() {
        eprintln!("{at}");
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
        "stored" => status("/analysis/status") != "none",
        "failed" => true,
        _ => false,
    }
}

/// Whether it all went as it should: every recording kept but the two that can't be.
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
    let recordings = origin::RECORDINGS.map(|(path, ..)| path);
    let path = match number {
        MISSING_AT => origin::MISSING,
        ERROR_PAGE_AT => origin::ERROR_PAGE.0,
        _ => recordings.into_iter().cycle().nth(number).unwrap_or_default(),
    };
    json!({
        "from_phone": format!("20255501{number:02}"),
        "to_phone": "8005550100",
        "handled_by": AGENTS.into_iter().cycle().nth(number),
        "department": DEPARTMENTS.into_iter().cycle().nth(number),
        "start_time": format!("2024-01-15 09:{number:02}:00"),
        "end_time": format!("2024-01-15 09:{number:02}:30"),
        "recording_url": format!("{origin}{path}"),
    })
}

#[expect(clippy::print_stdout, reason = "what the command has to say")]
async fn keep(running: &Running, directory: &Path) -> anyhow::Result<()> {
    println!(
        "\nIt goes on running, with everything in {} until it ends. Post a call of your own:",
        directory.display()
    );
    println!(
        "\n  curl {}/webhook.php -H 'X-API-Key: {KEY}' -d '{}'\n",
        running.public_url.as_deref().unwrap_or_default(),
        call(0, "https://example.com"),
    );
    if let Some(url) = &running.admin_url {
        println!("Health and metrics: {url}/readyz and {url}/metrics. End it with Ctrl-C.");
    }
    tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")
}
