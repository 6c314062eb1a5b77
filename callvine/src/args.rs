//! The command line: commands, flags and their variables. Settings of the gateway and the worker are theirs.

use std::path::PathBuf;
use std::time::Duration;

use callvine_shared::store::DeadLetterId;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// The longest time that events may be made to wait: well within the lease that the relay has on them.
const PUBLISH_DELAY_MAX: Duration = Duration::from_secs(2);

/// The longest shutdown that can be asked for.
const SHUTDOWN_TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// Call-log ingest: takes calls by webhook, keeps their recordings, publishes events
#[derive(Parser, Debug)]
#[command(name = "callvine", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    #[command(flatten)]
    pub(crate) logging: Logging,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Runs everything in one process: gateway, relay and worker
    ///
    /// Stores in SQLite and delivers in process, unless `DATABASE_URL` and `AMQP_URL` say otherwise.
    Up(Box<Up>),
    /// Runs the HTTP ingest process alone, on PostgreSQL and RabbitMQ
    Gateway(Box<Gateway>),
    /// Runs the recording worker alone, on PostgreSQL and RabbitMQ; run as many as you like
    Worker(Box<Worker>),
    /// Shows the whole of it with real telephony recordings: starts everything in a temporary directory, posts calls
    /// and tells what became of each
    Demo(Demo),
    /// Brings the database to the current schema
    Migrate(Database),
    /// Makes, lists and revokes API keys
    #[command(subcommand)]
    Keys(Keys),
    /// Lists what a worker or an analyzer gave up, and has it tried again
    #[command(subcommand)]
    DeadLetters(DeadLetters),
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
    Audit(Box<Audit>),
    #[command(hide = true, about = "Reads recordings for the worker that starts it")]
    Prove,
}

#[derive(Args, Debug)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) gateway: callvine_gateway::Settings,
    #[command(flatten)]
    pub(crate) admin: callvine_gateway::AdminSettings,
    #[command(flatten)]
    pub(crate) worker: callvine_worker::Settings,
    #[command(flatten)]
    pub(crate) database: Database,
    #[command(flatten)]
    pub(crate) broker: Broker,
    #[command(flatten)]
    pub(crate) recordings: RecordingsPlace,
    #[command(flatten)]
    pub(crate) process: Process,
}

#[derive(Args, Debug)]
pub(crate) struct Gateway {
    #[command(flatten)]
    pub(crate) gateway: callvine_gateway::Settings,
    #[command(flatten)]
    pub(crate) admin: callvine_gateway::AdminSettings,
    #[command(flatten)]
    pub(crate) database: Database,
    #[command(flatten)]
    pub(crate) broker: Broker,
    #[command(flatten)]
    pub(crate) process: Process,
}

#[derive(Args, Debug)]
pub(crate) struct Worker {
    #[command(flatten)]
    pub(crate) worker: callvine_worker::Settings,
    #[command(flatten)]
    pub(crate) admin: callvine_gateway::AdminSettings,
    #[command(flatten)]
    pub(crate) database: Database,
    #[command(flatten)]
    pub(crate) broker: Broker,
    #[command(flatten)]
    pub(crate) recordings: RecordingsPlace,
    #[command(flatten)]
    pub(crate) process: Process,
}

#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Leave it running when the table is printed, until it is interrupted
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Keys {
    /// Makes a key and prints it, this once
    Create(CreateKey),
    /// Lists all keys, revoked ones too
    List(ListKeys),
    /// Revokes a key; it is refused everywhere within 5 s
    Revoke(RevokeKey),
}

#[derive(Args, Debug)]
pub(crate) struct CreateKey {
    /// Whose key it is; a client may hold several
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) client: String,
    /// What the key is for; its prefix shows it
    #[arg(long, value_enum, default_value_t = Environment::Live)]
    pub(crate) env: Environment,
    #[command(flatten)]
    pub(crate) database: Database,
}

#[derive(Args, Debug)]
pub(crate) struct ListKeys {
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: Database,
}

#[derive(Args, Debug)]
pub(crate) struct RevokeKey {
    /// As `keys list` shows it
    pub(crate) id: i64,
    #[command(flatten)]
    pub(crate) database: Database,
}

#[derive(Subcommand, Debug)]
pub(crate) enum DeadLetters {
    /// Lists all of them, recordings first, each by its call's id
    ///
    /// Also what is still pending, but whose message no consumer could deal with; that has no time of failing.
    List(ListDeadLetters),
    /// Shows one
    Show(ShowDeadLetter),
    /// Has some or all tried again, from the step that failed and with as many tries as a new one
    ///
    /// The running system does it within seconds. A second failure is an event of its own. Exit code 1: there is no
    /// recording or analysis of this ID; what isn't given up is named and left alone.
    Retry(RetryDeadLetters),
}

#[derive(Args, Debug)]
pub(crate) struct ListDeadLetters {
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) places: Places,
}

#[derive(Args, Debug)]
pub(crate) struct ShowDeadLetter {
    /// As `dead-letters list` shows it: r17 is the recording of call 17, a17 its analysis
    pub(crate) id: DeadLetterId,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) places: Places,
}

#[derive(Args, Debug)]
pub(crate) struct RetryDeadLetters {
    /// As `dead-letters list` shows them: r17 is the recording of call 17, a17 its analysis
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ID")]
    pub(crate) ids: Vec<DeadLetterId>,
    /// All of them, and the messages in the dead-letter queues that no consumer could deal with
    #[arg(long)]
    pub(crate) all: bool,
    /// One JSON object a line: each ID and what became of it
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) places: Places,
}

/// Where dead letters are.
#[derive(Args, Debug)]
pub(crate) struct Places {
    #[command(flatten)]
    pub(crate) database: Database,
    /// amqp://… or amqps://… [default: in-process delivery]
    #[arg(long, env = "AMQP_URL", value_name = "URL", hide_env_values = true, help_heading = "Broker")]
    pub(crate) amqp_url: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Audit {
    /// Calls stored then or later, as 2026-11-24, 2026-11-24T06:30:00Z (UTC), or an age such as 24h [default: the
    /// first]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) from: Option<DateTime<Utc>>,
    /// Calls stored before then, likewise [default: up to the last]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) to: Option<DateTime<Utc>>,
    /// How long an event, a recording or an analysis may rest before it counts as stuck
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = humantime::parse_duration)]
    pub(crate) stuck_after: Duration,
    /// Reads every object and compares its SHA-256, not only its size
    #[arg(long)]
    pub(crate) deep: bool,
    /// Queues again what is missing: recordings, analyses, dead letters, objects by fetching them anew
    #[arg(long)]
    pub(crate) repair: bool,
    /// One JSON object a line: each problem, then the summary
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: Database,
    /// amqp://… or amqps://… [default: in-process delivery]
    #[arg(long, env = "AMQP_URL", value_name = "URL", hide_env_values = true, help_heading = "Broker")]
    pub(crate) amqp_url: Option<String>,
    #[command(flatten)]
    pub(crate) recordings: RecordingsPlace,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Environment {
    /// `cv_test_…`
    Test,
    /// `cv_live_…`
    Live,
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Storage")]
pub(crate) struct Database {
    /// Directory of the embedded database and of the recordings
    #[arg(long, env = "CALLVINE_DATA_DIR", value_name = "DIRECTORY", default_value = "./callvine-data")]
    pub(crate) data_dir: PathBuf,
    /// `postgres://…` or `sqlite://PATH` [default: SQLite in the data directory]
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Broker")]
pub(crate) struct Broker {
    /// amqp://… or amqps://… [default: in-process delivery, with `up` alone]
    #[arg(long, env = "AMQP_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) amqp_url: Option<String>,
    /// Whether the replayable stream of all events is declared
    #[arg(long, env = "CALLVINE_STREAM", value_name = "on|off", default_value = "on")]
    pub(crate) stream: Switch,
    /// How long events wait while calls pour in, to be published many at a time and out of the calls' way; 0s: not at all
    #[arg(
        long,
        env = "CALLVINE_PUBLISH_DELAY",
        value_name = "TIME",
        default_value = "100ms",
        value_parser = publish_delay
    )]
    pub(crate) publish_delay: Duration,
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Storage")]
pub(crate) struct RecordingsPlace {
    /// Where recordings are kept: `file:///absolute/path`, or `s3://bucket/prefix` with the usual `AWS_*` variables
    /// and, for an S3-compatible store, `AWS_ENDPOINT` [default: below the data directory]
    #[arg(long, env = "CALLVINE_RECORDINGS_URL", value_name = "URL")]
    pub(crate) recordings_url: Option<String>,
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Process")]
pub(crate) struct Process {
    /// Don't bring the database to the current schema at the start
    #[arg(long, env = "CALLVINE_NO_MIGRATE", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) no_migrate: bool,
    /// How long a shutdown may take
    #[arg(
        long,
        env = "CALLVINE_SHUTDOWN_TIMEOUT",
        value_name = "TIME",
        default_value = "30s",
        value_parser = shutdown_timeout
    )]
    pub(crate) shutdown_timeout: Duration,
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Logging")]
pub(crate) struct Logging {
    /// What is logged, on standard error: a level, or `target=level`, comma-separated [default: info,lapin=off; demo: error,lapin=off]
    #[arg(long, env = "RUST_LOG", value_name = "FILTER", global = true)]
    pub(crate) log: Option<String>,
    /// How it is logged
    #[arg(long, env = "CALLVINE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, global = true)]
    pub(crate) log_format: LogFormat,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    #[value(aliases = ["true", "1", "yes"])]
    On,
    #[value(aliases = ["false", "0", "no"])]
    Off,
}

fn shutdown_timeout(text: &str) -> Result<Duration, String> {
    duration(text, SHUTDOWN_TIMEOUT_MAX, "30s")
}

fn publish_delay(text: &str) -> Result<Duration, String> {
    duration(text, PUBLISH_DELAY_MAX, "100ms")
}

fn duration(text: &str, max: Duration, example: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= max => Ok(duration),
        _ => Err(format!("must be a time such as {example}, at most {}", humantime::format_duration(max))),
    }
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
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

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
