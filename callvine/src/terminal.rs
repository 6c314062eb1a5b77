//! The only place that writes to standard output, and to standard error what a command says there beside its log.
//!
//! A reader may leave before the end (`callvine keys list | head -1`). That is no failure to speak of: the command ends
//! at once and quietly, with the exit code in [`READER_LEFT`].

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use crate::failure::Failure;

/// 128 + SIGPIPE: the code that a shell reports for any tool that ended because its reader had left.
pub(crate) const READER_LEFT: u8 = 141;

/// Nothing more can be written.
#[derive(Debug)]
pub(crate) struct OutputError(io::Error);

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

/// For a function that takes findings or reports: it passes the error through to its caller.
impl From<OutputError> for io::Error {
    fn from(OutputError(error): OutputError) -> Self {
        error
    }
}

impl From<OutputError> for Failure {
    fn from(OutputError(error): OutputError) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderLeft,
            _ => anyhow::Error::new(error).context("cannot print").into(),
        }
    }
}

/// Prints a line, or several.
pub(crate) fn line(text: impl Display) -> Result<(), OutputError> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// Prints an object as one line of JSON.
pub(crate) fn json(object: &impl Serialize) -> Result<(), OutputError> {
    line(serde_json::to_string(object).map_err(io::Error::other)?)
}

/// Says something beside the output, on standard error.
pub(crate) fn note(text: impl Display) -> Result<(), OutputError> {
    Ok(writeln!(io::stderr().lock(), "{text}")?)
}

/// Says how far a command is, to whoever may be there.
pub(crate) fn progress(text: &str) {
    if let Err(OutputError(error)) = note(text) {
        tracing::debug!(%error, "cannot say how far it is");
    }
}

/// Says why the program ends, unless its reader has left; returns its exit code.
pub(crate) fn last_words(failure: &Failure) -> ExitCode {
    let said = match failure {
        Failure::Setting(text) => note(format_args!("error: {text}")),
        Failure::Runtime(error) => note(format_args!("error: {error:#}")),
        Failure::ReaderLeft => Ok(()),
    };
    if let Err(OutputError(error)) = said {
        tracing::debug!(%error, "cannot say why it ends");
    }
    failure.exit_code()
}

/// Prints clap's answer, which is help, a version or a complaint, and the variables that a complaint may be about.
pub(crate) fn refusal(error: &clap::Error, variables: &[String]) -> ExitCode {
    let printed = error.print().map_err(OutputError).and_then(|()| {
        if variables.is_empty() {
            return Ok(());
        }
        note(format_args!("\nThe value may come from the environment: {}", variables.join(", ")))
    });
    match printed {
        Ok(()) => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
        Err(error) => last_words(&error.into()),
    }
}
