//! The tree of commands, and the settings that several of them share. Each command has its own settings in its file,
//! and the gateway and the worker have theirs.

use std::path::PathBuf;
use std::time::Duration;

use callvine_shared::bus::BrokerUrl;
use callvine_shared::store::DatabaseUrl;
use callvine_shared::switch::on_or_off;
use clap::{Args, Parser, Subcommand};

use crate::commands::audit::Audit;
use crate::commands::dead_letters::DeadLetters;
use crate::commands::demo::Demo;
use crate::commands::keys::Keys;
use crate::commands::serve::{Analyzer, Gateway, Up, Worker};
use crate::failure::Failure;
use crate::secrets;
use crate::telemetry::Logging;

/// The longest time that events may be made to wait: well within the lease that the relay has on them.
const PUBLISH_DELAY_MAX: Duration = Duration::from_secs(2);

/// The file of the embedded database in the data directory.
const DATABASE_FILE: &str = "callvine.db";

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
    Up(Box<Up>),
    Gateway(Box<Gateway>),
    Worker(Box<Worker>),
    Analyzer(Box<Analyzer>),
    Demo(Demo),
    /// Brings the database to the current schema
    Migrate(Database),
    /// Makes, lists and revokes API keys
    #[command(subcommand)]
    Keys(Keys),
    /// Lists what a worker or an analyzer gave up, and has it attempted again
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    Audit(Box<Audit>),
    #[command(hide = true, about = "Reads recordings for the worker that starts it")]
    Prove,
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Storage")]
pub(crate) struct Database {
    /// Directory of the embedded database and of the recordings
    #[arg(long, env = "CALLVINE_DATA_DIR", value_name = "DIRECTORY", default_value = "./callvine-data")]
    pub(crate) data_dir: PathBuf,
    /// `postgres://…` or `sqlite://PATH` [default: SQLite in the data directory]
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// File that holds the database's address, instead of the address itself
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "FILE")]
    database_url_file: Option<PathBuf>,
}

impl Database {
    /// The database that the settings name. An empty variable counts as absent.
    ///
    /// Read here and not by clap, whose complaint would quote the password.
    pub(crate) fn url(&self) -> Result<DatabaseUrl, Failure> {
        match secrets::DATABASE_URL.read(self.database_url.as_deref(), self.database_url_file.as_deref())? {
            None => Ok(DatabaseUrl::of_file(&self.data_dir.join(DATABASE_FILE))),
            Some(url) => url.parse().map_err(Failure::of_setting),
        }
    }
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Broker")]
pub(crate) struct Broker {
    #[command(flatten)]
    address: BrokerAddress,
    /// Whether the replayable stream of all events is declared
    #[arg(
        long,
        env = "CALLVINE_STREAM",
        value_name = "on|off",
        default_value = "on",
        value_parser = on_or_off,
        action = clap::ArgAction::Set
    )]
    pub(crate) stream: bool,
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

impl Broker {
    /// The broker's address, if there is a broker.
    pub(crate) fn url(&self) -> Result<Option<BrokerUrl>, Failure> {
        self.address.url()
    }
}

/// The broker, for a command that only asks it.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Broker")]
pub(crate) struct BrokerAddress {
    /// amqp://… or amqps://… [default: in-process delivery, with one `up` alone]
    #[arg(long, env = "AMQP_URL", value_name = "URL", hide_env_values = true)]
    amqp_url: Option<String>,
    /// File that holds the broker's address, instead of the address itself
    #[arg(long, env = "AMQP_URL_FILE", value_name = "FILE")]
    amqp_url_file: Option<PathBuf>,
}

impl BrokerAddress {
    /// The broker's address, if there is a broker. An empty variable counts as absent.
    ///
    /// Read here and not by clap, whose complaint would quote the password.
    pub(crate) fn url(&self) -> Result<Option<BrokerUrl>, Failure> {
        let url = secrets::AMQP_URL.read(self.amqp_url.as_deref(), self.amqp_url_file.as_deref())?;
        url.as_deref().map(str::parse).transpose().map_err(Failure::of_setting)
    }
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Storage")]
pub(crate) struct RecordingsLocation {
    /// Where recordings are kept: `file:///absolute/path`, or `s3://bucket/prefix` with the usual `AWS_*` variables
    /// and, for an S3-compatible store, `AWS_ENDPOINT` [default: below the data directory]
    #[arg(long, env = "CALLVINE_RECORDINGS_URL", value_name = "URL")]
    pub(crate) recordings_url: Option<String>,
}

impl RecordingsLocation {
    /// Whether a location is named. An empty variable counts as absent.
    pub(crate) fn is_set(&self) -> bool {
        self.recordings_url.as_deref().is_some_and(|url| !url.is_empty())
    }
}

fn publish_delay(text: &str) -> Result<Duration, String> {
    duration(text, PUBLISH_DELAY_MAX, "100ms")
}

/// A time of at most `max`; a refusal names an example.
pub(crate) fn duration(text: &str, max: Duration, example: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= max => Ok(duration),
        _ => Err(format!("must be a time such as {example}, at most {}", humantime::format_duration(max))),
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
