//! The program: it alone reads arguments and environment, puts the parts together, and prints.
//!
//! - `args`: the tree of commands, and the settings that several of them share
//! - `commands`: a file for each command, with its own settings and everything it prints
//! - `terminal`: the only place that writes to standard output
//! - `failure`: exit codes
//! - `process`: the long-running processes, from start to ordered stop
//! - `secrets`: settings that nobody else may see
//! - `telemetry`: logs and metrics

mod args;
mod commands;
mod failure;
mod process;
mod secrets;
mod telemetry;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

use self::args::{Cli, Command};
use self::failure::Failure;

/// Runs the program with this process's arguments and environment.
///
/// Exit codes: 0 done; 1 failed at run time; 2 unusable arguments or settings, named on standard error; 141 the reader of
/// the output has left.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return terminal::refusal(&error, &failure::variables_named_by(&error)),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => terminal::last_words(&failure),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    if matches!(cli.command, Command::Prove) {
        return commands::prove::run();
    }
    secrets::leave_the_command_line()?;
    process::keep_new_files_private();
    // lapin logs every connection that breaks as an error; the supervisor of the connections already says what matters.
    // The demo logs errors alone: its own lines are the point, and one of its recordings is given up on purpose.
    let default_filter =
        if matches!(cli.command, Command::Demo(_)) { "error,lapin=off" } else { "info,lapin=off" };
    telemetry::start_logging(&cli.logging, default_filter)?;
    // One TLS implementation for all clients. It can only be installed once, and this is the one place.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed already");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| anyhow::Error::new(error).context("cannot start the runtime"))?;
    let ended = runtime.block_on(async {
        match cli.command {
            Command::Up(up) => commands::serve::up(*up).await,
            Command::Gateway(gateway) => commands::serve::gateway(*gateway).await,
            Command::Worker(worker) => commands::serve::worker(*worker).await,
            Command::Analyzer(analyzer) => commands::serve::analyzer(*analyzer).await,
            Command::Demo(demo) => commands::demo::run(&demo).await,
            Command::Migrate(database) => commands::migrate::run(&database).await,
            Command::Keys(keys) => commands::keys::run(keys).await,
            Command::DeadLetters(letters) => commands::dead_letters::run(letters).await,
            Command::Audit(audit) => commands::audit::run(*audit).await,
            Command::Prove => commands::prove::run(),
        }
    });
    // A thread that waits for a disk must not hold up the end: whatever it does goes on at the next start.
    runtime.shutdown_background();
    ended
}
