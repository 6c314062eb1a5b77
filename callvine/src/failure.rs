//! Why the program ends, and with which exit code.

use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue};

use crate::args::Cli;

/// Why the program ends other than as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A setting can't be used; the text names its flag or variable.
    #[error("{0}")]
    Setting(String),
    /// It failed while it ran.
    #[error(transparent)]
    Runtime(#[from] anyhow::Error),
}

impl Failure {
    /// 1: failed at run time; 2: unusable settings.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Setting(_) => ExitCode::from(2),
            Self::Runtime(_) => ExitCode::from(1),
        }
    }
}

/// The variables behind the flags that clap complains of: its own message names the flag alone, although the value may
/// have come from the environment.
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
