//! The command line: commands, flags and their variables. Settings of the gateway and the worker are theirs.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Storage")]
pub(crate) struct RecordingsPlace {
    /// Where recordings are kept: `file:///absolute/path` [default: below the data directory]
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
    match humantime::parse_duration(text) {
        Ok(timeout) if timeout <= SHUTDOWN_TIMEOUT_MAX => Ok(timeout),
        _ => Err(format!(
            "must be a time such as 30s, at most {}",
            humantime::format_duration(SHUTDOWN_TIMEOUT_MAX)
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
