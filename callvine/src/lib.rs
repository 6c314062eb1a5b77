//! The program: it alone reads arguments and environment, puts the parts together, and prints.
//!
//! - `args`: the command line
//! - `failure`: exit codes
//! - `process`: the long-running processes, from start to ordered stop
//! - `commands`: one file a command
//! - `telemetry`: logs and metrics

mod args;
mod commands;
mod failure;
mod process;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

use self::args::{Cli, Command};
use self::failure::Failure;

/// Runs the program with this process's arguments and environment.
///
/// Exit codes: 0 done; 1 failed at run time; 2 unusable arguments or settings, named on standard error.
#[must_use]
#[expect(clippy::print_stderr, reason = "the last words of a command-line program")]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            match &failure {
                Failure::Setting(text) => eprintln!("error: {text}"),
                Failure::Runtime(error) => eprintln!("error: {error:#}"),
            }
            failure.exit_code()
        }
    }
}

/// Prints clap's answer, which is help, a version or a complaint, and says which variable was meant.
#[expect(clippy::print_stderr, reason = "the last words of a command-line program")]
fn refuse(error: &clap::Error) -> ExitCode {
    if error.print().is_err() {
        return ExitCode::from(1);
    }
    let variables = failure::variables_named_by(error);
    if !variables.is_empty() {
        eprintln!("\nThe value may come from the environment: {}", variables.join(", "));
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn run(cli: Cli) -> Result<(), Failure> {
    if matches!(cli.command, Command::Prove) {
        return commands::prove::run();
    }
    // The AMQP client logs connections that break, or are closed while it is at it, as errors. They are supervised, and
    // the supervisor says what matters. The demo's own lines are the point, and a recording that is given up is part of
    // the show.
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
