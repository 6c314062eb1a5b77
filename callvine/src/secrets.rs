//! Secrets among the settings: from a variable, a file or a flag; never left on the command line, never a placeholder.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use url::Url;

use crate::failure::Failure;

/// Largest file of one secret: an address or a token fits many times; a larger file is the wrong one.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Values that stand in examples until somebody replaces them, in lower case and without `-` and `_`.
const PLACEHOLDERS: [&str; 2] = ["replaceme", "changeme"];

/// A setting that holds a secret. Its file is named by `FLAG-file` and `VARIABLE_FILE`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Secret {
    flag: &'static str,
    variable: &'static str,
}

/// The database's address, which has a password.
pub(crate) const DATABASE_URL: Secret = Secret { flag: "--database-url", variable: "DATABASE_URL" };

/// The broker's address, which has a password.
pub(crate) const AMQP_URL: Secret = Secret { flag: "--amqp-url", variable: "AMQP_URL" };

/// The admin listener's token.
pub(crate) const ADMIN_TOKEN: Secret = Secret { flag: "--admin-token", variable: "CALLVINE_ADMIN_TOKEN" };

/// All of them.
const ALL: [Secret; 3] = [DATABASE_URL, AMQP_URL, ADMIN_TOKEN];

impl Secret {
    /// The secret itself, or the content of its file without white space around it. An empty value counts as absent.
    pub(crate) fn read(self, value: Option<&str>, file: Option<&Path>) -> Result<Option<String>, Failure> {
        let secret = match (value.filter(|value| !value.is_empty()), file) {
            (None, None) => return Ok(None),
            (Some(value), None) => value.to_owned(),
            (None, Some(file)) => self.of_file(file)?,
            (Some(_), Some(_)) => {
                let Self { flag, variable } = self;
                let text =
                    format!("{flag} ({variable}) and {flag}-file ({variable}_FILE) are both given: keep one");
                return Err(Failure::Setting(text));
            }
        };
        if has_placeholder(&secret) {
            let Self { flag, variable } = self;
            let text =
                format!("{flag} ({variable}): it still has the placeholder of an example: replace that");
            return Err(Failure::Setting(text));
        }
        Ok(Some(secret))
    }

    fn of_file(self, path: &Path) -> Result<String, Failure> {
        let refused = |why: &dyn std::fmt::Display| {
            let (Self { flag, variable }, path) = (self, path.display());
            Failure::Setting(format!("{flag}-file ({variable}_FILE): {path} {why}"))
        };
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
        match read {
            Err(error) => Err(refused(&format_args!("cannot be read: {error}"))),
            Ok(length) if length as u64 > FILE_BYTES_MAX => {
                Err(refused(&format_args!("is larger than {FILE_BYTES_MAX} bytes")))
            }
            Ok(_) if text.trim().is_empty() => Err(refused(&"is empty")),
            Ok(_) => Ok(text.trim().to_owned()),
        }
    }
}

/// Whether a secret, or the password of an address, is still that of an example.
fn has_placeholder(secret: &str) -> bool {
    let is_one = |text: &str| PLACEHOLDERS.contains(&text.to_lowercase().replace(['-', '_'], "").as_str());
    let in_address = |url: Url| {
        url.password().is_some_and(is_one)
            || url.query_pairs().any(|(name, value)| name == "password" && is_one(&value))
    };
    is_one(secret) || Url::parse(secret).is_ok_and(in_address)
}

/// Starts this program again in this process, with the secrets of its arguments in its environment. Every user of the
/// machine reads the arguments of a process, and nobody but its owner the environment.
///
/// Returns at once when no argument is a secret, and does not return when it has started again. The arguments must be
/// valid: a flag that the command does not have would be accepted as a variable.
pub(crate) fn leave_the_command_line() -> Result<(), Failure> {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "callvine".into());
    let (others, secrets) = apart(arguments);
    if secrets.is_empty() {
        return Ok(());
    }
    let program = std::env::current_exe().map_err(|error| cannot_leave(&error))?;
    let error = Command::new(program).arg0(name).args(others).envs(secrets).exec();
    Err(cannot_leave(&error))
}

fn cannot_leave(error: &std::io::Error) -> Failure {
    Failure::Setting(format!(
        "cannot take a secret off the command line ({error}): give it as a variable or in a file"
    ))
}

/// The arguments without those that are secrets, and the secrets by their variables. The last of one name counts.
fn apart(arguments: impl Iterator<Item = OsString>) -> (Vec<OsString>, Vec<(&'static str, OsString)>) {
    let (mut others, mut secrets) = (Vec::new(), Vec::new());
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            others.push(argument);
            others.extend(arguments);
            break;
        }
        match ALL.iter().find_map(|secret| Some((secret.variable, value_in(&argument, secret.flag)?))) {
            None => others.push(argument),
            Some((variable, Some(value))) => secrets.push((variable, value)),
            Some((variable, None)) => secrets.extend(arguments.next().map(|value| (variable, value))),
        }
    }
    (others, secrets)
}

/// `None`: it is another argument; `Some(None)`: the value is the next one.
fn value_in(argument: &OsStr, flag: &str) -> Option<Option<OsString>> {
    match argument.as_bytes().strip_prefix(flag.as_bytes())? {
        [] => Some(None),
        [b'=', value @ ..] => Some(Some(OsString::from_vec(value.to_vec()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_from_among_the_arguments() {
        let text =
            "up --amqp-url=a --log debug --database-url d --admin-token-file f --amqp-url b -- --amqp-url=c";
        let (others, secrets) = apart(text.split(' ').map(OsString::from));
        assert_eq!(others.join(OsStr::new(" ")), "up --log debug --admin-token-file f -- --amqp-url=c");
        let expected = [("AMQP_URL", "a"), ("DATABASE_URL", "d"), ("AMQP_URL", "b")];
        assert_eq!(secrets, expected.map(|(variable, value)| (variable, OsString::from(value))));
    }

    #[test]
    fn placeholders_are_known_in_every_place() {
        for (secret, expected) in [
            ("replace-me", true),
            ("CHANGE_ME", true),
            ("amqp://callvine:replace-me@mq:5672/callvine", true),
            ("postgres://callvine@db/callvine?password=changeme", true),
            ("amqp://replace-me:4711@mq/replace-me", false),
            ("please-replace-me", false),
        ] {
            assert_eq!(has_placeholder(secret), expected, "{secret}");
        }
    }
}
