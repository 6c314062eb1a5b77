//! The settings of the admin listener.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use callvine_shared::api_key::Digest;
use secrecy::{ExposeSecret as _, SecretString};

use super::{ListenAddress, TlsSettings};

/// How operators reach a process.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Admin listener")]
#[group(id = "admin-listener")]
pub struct AdminSettings {
    /// Health, metrics and console, or `off`; port 0 picks a free one
    #[arg(long, env = "CALLVINE_ADMIN_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    pub admin_listen: AdminListen,

    /// Token that callers send as `Authorization: Bearer`, except to `/healthz` and `/readyz`; needed beyond loopback
    #[arg(
        long,
        env = "CALLVINE_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        value_parser = admin_token
    )]
    pub admin_token: Option<SecretString>,

    /// File that holds the token, instead of the token itself
    // The program reads it into `admin_token` before it checks the settings.
    #[arg(long, env = "CALLVINE_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,

    /// Both listeners speak TLS, or neither.
    #[command(flatten)]
    pub tls: TlsSettings,
}

impl AdminSettings {
    /// Checks the settings against each other, which clap can't.
    ///
    /// # Errors
    /// [`SettingsError`] when the admin listener would be open to anybody.
    pub fn check(&self) -> Result<(), SettingsError> {
        match self.admin_listen {
            AdminListen::On(ListenAddress(address))
                if self.admin_token.is_none() && !address.ip().is_loopback() =>
            {
                Err(SettingsError::OpenAdmin(address))
            }
            _ => Ok(()),
        }
    }

    /// The digest of the token.
    #[must_use]
    pub fn token_digest(&self) -> Option<Digest> {
        self.admin_token.as_ref().map(|token| Digest::of(token.expose_secret().as_bytes()))
    }
}

/// Settings that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The admin listener has no token and is not on loopback.
    #[error(
        "CALLVINE_ADMIN_LISTEN={0} is open to other hosts: set CALLVINE_ADMIN_TOKEN, or listen on 127.0.0.1"
    )]
    OpenAdmin(SocketAddr),
}

/// The admin listener's address, or that there is no such listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminListen {
    /// `off`
    Off,
    /// On this address.
    On(ListenAddress),
}

impl FromStr for AdminListen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            _ => text
                .parse()
                .map(Self::On)
                .map_err(|_error| "must be `off`, or an address and a port such as 127.0.0.1:8081"),
        }
    }
}

fn admin_token(text: &str) -> Result<SecretString, &'static str> {
    match text.trim() {
        "" => Err("must not be empty"),
        token => Ok(token.into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        admin: AdminSettings,
    }

    fn parse(arguments: &[&str]) -> AdminSettings {
        Command::parse_from(std::iter::once(&"gateway").chain(arguments)).admin
    }

    #[test]
    fn an_admin_listener_beyond_loopback_needs_a_token() {
        let check = |arguments: &[&str]| parse(arguments).check();
        let error = check(&["--admin-listen=0.0.0.0:1"]).unwrap_err();
        assert!(error.to_string().contains("CALLVINE_ADMIN_TOKEN"));
        assert_eq!(check(&["--admin-listen=0.0.0.0:1", "--admin-token=t"]), Ok(()));
        assert_eq!(check(&["--admin-listen=[::1]:1"]), Ok(()));
        assert_eq!(check(&["--admin-listen=off"]), Ok(()));
        let settings = parse(&["--admin-token=secret"]);
        assert!(!format!("{settings:?}").contains("secret"));
    }
}
