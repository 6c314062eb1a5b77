//! Why the program ends, and with which exit code.

use std::process::ExitCode;

use callvine_shared::error_chain::Chain;
use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue};

use crate::args::Cli;
use crate::terminal::READER_LEFT;

/// Why the program ends other than as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A setting can't be used; the text names its flag or variable.
    #[error("{0}")]
    Setting(String),
    /// The command failed while it ran.
    #[error(transparent)]
    Runtime(#[from] anyhow::Error),
    /// The reader of its output has left: nothing failed, and nobody is there to be told.
    #[error("the reader of the output has left")]
    ReaderLeft,
}

impl Failure {
    /// For an error whose text names the setting; its causes are told too.
    pub(crate) fn of_setting(error: impl std::error::Error + 'static) -> Self {
        Self::Setting(Chain(&error).to_string())
    }

    /// 1: failed at run time; 2: unusable settings; [`READER_LEFT`].
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Setting(_) => ExitCode::from(2),
            Self::Runtime(_) => ExitCode::from(1),
            Self::ReaderLeft => ExitCode::from(READER_LEFT),
        }
    }
}

/// The variables of the flags in clap's complaint, which names a flag alone although its value may come from the
/// environment.
pub(crate) fn variables_named_by(error: &clap::Error) -> Vec<String> {
    let complaints: Vec<String> = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => vec![argument.clone()],
        Some(ContextValue::Strings(arguments)) => arguments.clone(),
        _ => Vec::new(),
    };
    let mut variables = Vec::new();
    let mut commands = vec![Cli::command()];
    while let Some(mut command) = commands.pop() {
        command.build();
        for argument in command.get_arguments() {
            let named = complaints.iter().any(|complaint| *complaint == argument.to_string());
            if let (true, Some(variable)) = (named, argument.get_env()) {
                let variable = variable.to_string_lossy().into_owned();
                if !variables.contains(&variable) {
                    variables.push(variable);
                }
            }
        }
        commands.extend(command.get_subcommands().cloned());
    }
    variables
}
