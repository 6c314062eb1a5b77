//! `callvine audit`: its settings, and what it prints: a line for each finding as it is made, and a summary.

use std::time::Duration;

use anyhow::anyhow;
use callvine_operator::audit::{self, AuditError, Counts, Finding, Plan};
use callvine_shared::bus::Queues;
use callvine_shared::store::Window;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use clap::Args;
use serde::Serialize;

use crate::args::{BrokerAddress, Database, RecordingsLocation};
use crate::failure::Failure;
use crate::process;
use crate::terminal::{self, OutputError};

/// Reconciles calls, outbox, recordings, analyses, dead letters and stored objects, and names what is missing or
/// stuck
///
/// Run it beside the running system, as often as you like. Exit code 0: nothing is wrong; 1: something is, also
/// when it was repaired.
///
/// It proves: every call has a recording row, every stored recording an analysis row and its object in full size
/// (with --deep, the very bytes); no event lies in the outbox longer than --stuck-after; every recording that is
/// pending, and every analysis that is requested, has a message on its way; every object belongs to a recording.
///
/// It can't prove what has left no trace: that an event which is no longer in the outbox was published (it was
/// confirmed, or somebody deleted its row), or which calls the messages in a broker's queue are about. As long as
/// a queue holds at least as many messages as there are recordings without another trace, these count as queued.
/// Messages that a consumer has in hand can't be seen either: an analyzer of your own that takes longer than
/// --stuck-after for an analysis looks like one that lost it.
#[derive(Args, Debug)]
pub(crate) struct Audit {
    /// Calls stored then or later, as 2026-11-24, 2026-11-24T06:30:00Z (UTC), or an age such as 24h [default: the
    /// first]
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<DateTime<Utc>>,
    /// Calls stored before then, likewise [default: up to the last]
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<DateTime<Utc>>,
    /// How long an event, a recording or an analysis may rest before it counts as stuck
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = humantime::parse_duration)]
    stuck_after: Duration,
    /// Reads every object and compares its SHA-256, not only its size
    #[arg(long)]
    deep: bool,
    /// Queues again what is missing: recordings, analyses, dead letters, objects by fetching them anew
    #[arg(long)]
    repair: bool,
    /// One JSON object a line: each problem, then the summary
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    broker: BrokerAddress,
    #[command(flatten)]
    recordings: RecordingsLocation,
}

/// Audits, prints, and fails when anything is wrong.
pub(crate) async fn run(args: Audit) -> Result<(), Failure> {
    let (database, broker) = (args.database.url()?, args.broker.url()?);
    let location = process::recordings(&args.recordings, &args.database.data_dir)?;
    let store = process::open_existing(&database).await?;
    let plan = Plan {
        queues: Queues::new(broker, &store),
        store: store.clone(),
        objects: audit::existing_objects(&location).await.map_err(failure)?,
        window: Window {
            from: args.from.unwrap_or(DateTime::UNIX_EPOCH),
            to: args.to.unwrap_or(DateTime::<Utc>::MAX_UTC),
        },
        stuck_after: args.stuck_after,
        deep: args.deep,
        repair: args.repair,
    };
    let mut print = |finding: &Finding| Ok(print_finding(finding, args.json)?);
    let counts = audit::run(plan, &mut print).await.map_err(failure)?;
    store.close().await;
    print_summary(&counts, args.json)?;
    match counts.problems {
        0 => Ok(()),
        problems => Err(anyhow!("the audit found {problems} {}", plural(problems, "problem")).into()),
    }
}

fn failure(error: AuditError) -> Failure {
    match error {
        AuditError::Sink(error) => OutputError::from(error).into(),
        error => anyhow::Error::new(error).into(),
    }
}

fn print_finding(finding: &Finding, json: bool) -> Result<(), OutputError> {
    if json {
        return terminal::json(finding);
    }
    let Finding { problem, call_id, object, detail, repaired } = finding;
    let name = serde_json::to_string(problem).unwrap_or_default();
    let call = call_id.map_or_else(String::new, |id| format!("call {id}: "));
    let object = object.as_deref().map_or_else(String::new, |object| format!(" ({object})"));
    let repaired = if *repaired { "; queued again" } else { "" };
    terminal::line(format_args!("{call}{}: {detail}{object}{repaired}", name.trim_matches('"')))
}

fn print_summary(counts: &Counts, json: bool) -> Result<(), OutputError> {
    #[derive(Serialize)]
    struct Summary<'a> {
        summary: &'a Counts,
    }
    if json {
        return terminal::json(&Summary { summary: counts });
    }
    let Counts { calls, pending, stored, failed, objects, .. } = counts;
    terminal::line(format_args!(
        "{calls} {}: {pending} recordings pending, {stored} stored, {failed} failed; {objects} objects compared",
        plural(*calls, "call"),
    ))?;
    let Counts { in_outbox, in_queues, dead_letters, problems, repaired, .. } = counts;
    terminal::line(format_args!(
        "on their way: {in_outbox} in the outbox, {in_queues} in queues; {dead_letters} dead letters"
    ))?;
    match problems {
        0 => terminal::line("nothing is wrong"),
        _ => terminal::line(format_args!(
            "{problems} {}, {repaired} queued again",
            plural(*problems, "problem")
        )),
    }
}

/// `problem` or `problems`.
fn plural(count: u64, noun: &str) -> String {
    if count == 1 { noun.to_owned() } else { format!("{noun}s") }
}

/// A point in time, or how long ago it was.
fn time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc());
    }
    if let Ok(at) = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S") {
        return Ok(at.and_utc());
    }
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(day.and_time(NaiveTime::MIN).and_utc());
    }
    let age = humantime::parse_duration(text).ok().and_then(|age| TimeDelta::from_std(age).ok());
    age.and_then(|age| Utc::now().checked_sub_signed(age))
        .ok_or_else(|| "must be a time such as 2026-11-24T06:30:00Z, or an age such as 24h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_points_or_ages() {
        let expected: DateTime<Utc> = "2026-11-24T06:30:00Z".parse().unwrap();
        for text in ["2026-11-24T06:30:00Z", "2026-11-24T08:30:00+02:00", "2026-11-24 06:30:00"] {
            assert_eq!(time(text), Ok(expected), "{text}");
        }
        assert_eq!(time("2026-11-24"), Ok("2026-11-24T00:00:00Z".parse().unwrap()));
        let then = time("90m").unwrap();
        let age = Utc::now() - then;
        assert!((5400..5410).contains(&age.num_seconds()), "{age}");
        for text in ["", "yesterday", "2026-13-01", "-1h", "999999999y"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
