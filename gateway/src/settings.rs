//! The settings of the listeners: one line each for flag, variable, default and help.
//!
//! A wrong value ends the start: each is judged here while the command line is read, and what only shows when they are
//! taken together, by `check`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use bytesize::ByteSize;
use callvine_shared::api_key::Digest;
use callvine_shared::switch::on_or_off;
use secrecy::{ExposeSecret as _, SecretString};

/// Most of `CALLVINE_MAX_BODY`: a body is held in memory, one for each request that is under way.
const BODY_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Most of `CALLVINE_MAX_IN_FLIGHT`: at about 1 KiB each, a gigabyte of calls that wait.
const IN_FLIGHT_MAX: u64 = 1_000_000;

/// How providers reach the gateway.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Public listener")]
#[group(id = "public-listener")]
pub struct Settings {
    /// Where providers post their calls; port 0 picks a free one
    #[arg(long, env = "CALLVINE_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: ListenAddress,

    /// Whether the published test keys are accepted [default: on for `up` and `demo` on a loopback address]
    #[arg(
        long,
        env = "CALLVINE_DEV_KEYS",
        value_name = "on|off",
        value_parser = on_or_off,
        action = clap::ArgAction::Set
    )]
    pub dev_keys: Option<bool>,

    /// Largest body of a request
    #[arg(long, env = "CALLVINE_MAX_BODY", value_name = "SIZE", default_value = "64KiB", value_parser = max_body)]
    pub max_body: usize,

    /// Calls accepted and not yet answered; more are refused with 503
    #[arg(
        long,
        env = "CALLVINE_MAX_IN_FLIGHT",
        value_name = "N",
        default_value = "10000",
        value_parser = max_in_flight
    )]
    pub max_in_flight: usize,
}

impl Settings {
    /// Whether the published test keys are accepted. What was not said is on where that is the command's `default`,
    /// but only while nobody beyond this host can connect.
    #[must_use]
    pub fn accepts_dev_keys(&self, default: bool) -> bool {
        self.dev_keys.unwrap_or(default && self.listen.0.ip().is_loopback())
    }
}

/// How operators reach a process.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Admin listener")]
#[group(id = "admin-listener")]
pub struct AdminSettings {
    /// Health, metrics and console, or `off`; port 0 picks a free one
    #[arg(long, env = "CALLVINE_ADMIN_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    pub admin_listen: AdminListen,

    /// Asked for as `Authorization: Bearer`, except by `/healthz` and `/readyz`; needed beyond loopback
    #[arg(
        long,
        env = "CALLVINE_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        value_parser = admin_token
    )]
    pub admin_token: Option<SecretString>,
}

impl AdminSettings {
    /// Checks what clap can't, since it takes two settings to see it.
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

    /// By which the token is known.
    #[must_use]
    pub fn token_digest(&self) -> Option<Digest> {
        self.admin_token.as_ref().map(|token| Digest::of(token.expose_secret().as_bytes()))
    }
}

/// Settings that don't go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The admin listener has no token and is not on loopback.
    #[error(
        "CALLVINE_ADMIN_LISTEN={0} is open to other hosts: set CALLVINE_ADMIN_TOKEN, or listen on 127.0.0.1"
    )]
    OpenAdmin(SocketAddr),
}

/// An address to listen on: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, or `:8080` for loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress(pub SocketAddr);

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let loopback_port = text.strip_prefix("localhost").unwrap_or(text).strip_prefix(':');
        let address = match loopback_port.map(str::parse) {
            Some(Ok(port)) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            _ => text.parse(),
        };
        address.map(Self).map_err(|_error| "must be an address and a port such as 127.0.0.1:8080")
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the admin listener is, if it is.
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

fn max_body(text: &str) -> Result<usize, String> {
    let bytes = text.parse::<ByteSize>().map_or(0, |size| size.as_u64());
    bounded(bytes, BODY_MAX_BYTES).ok_or("must be a size above zero such as 64KiB, at most 16MiB".to_owned())
}

fn max_in_flight(text: &str) -> Result<usize, String> {
    let count = text.parse().unwrap_or(0);
    bounded(count, IN_FLIGHT_MAX).ok_or(format!("must be a whole number from 1 to {IN_FLIGHT_MAX}"))
}

fn bounded(value: u64, max: u64) -> Option<usize> {
    usize::try_from(value).ok().filter(|_| (1..=max).contains(&value))
}

fn admin_token(text: &str) -> Result<SecretString, &'static str> {
    match text.trim() {
        "" => Err("must not be empty"),
        token => Ok(token.into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[derive(clap::Parser, Debug)]
    struct Command {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        admin: AdminSettings,
    }

    fn parse(arguments: &[&str]) -> Result<Command, clap::Error> {
        Command::try_parse_from(std::iter::once(&"gateway").chain(arguments))
    }

    #[test]
    fn defaults_are_the_published_ones() {
        let Command { settings, admin } = parse(&[]).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.dev_keys, None);
        assert_eq!(settings.max_body, 64 * 1024);
        assert_eq!(settings.max_in_flight, 10_000);
        assert_eq!(admin.admin_listen, AdminListen::On("127.0.0.1:8081".parse().unwrap()));
        assert!(admin.admin_token.is_none() && admin.token_digest().is_none());
        assert_eq!(admin.check(), Ok(()));
    }

    #[test]
    fn every_setting_has_the_variable_of_its_flag() {
        for argument in Command::command().get_arguments().filter(|argument| argument.get_id() != "help") {
            let flag = argument.get_long().unwrap();
            let variable = format!("CALLVINE_{}", flag.to_uppercase().replace('-', "_"));
            assert_eq!(argument.get_env().unwrap().to_str().unwrap(), variable);
            assert!(argument.get_help().is_some(), "{flag} has no help");
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        for argument in [
            "--listen=8080",
            "--listen=example.com:80",
            "--listen=127.0.0.1",
            "--listen=:70000",
            "--listen=off",
            "--admin-listen=no",
            "--admin-token= ",
            "--dev-keys=maybe",
            "--dev-keys=",
            "--max-body=0",
            "--max-body=17MiB",
            "--max-body=-1",
            "--max-body=big",
            "--max-in-flight=0",
            "--max-in-flight=1000001",
            "--max-in-flight=-1",
        ] {
            let error = parse(&[argument]).expect_err(argument);
            assert_eq!(error.exit_code(), 2, "{argument}");
            let flag = argument.split('=').next().unwrap();
            assert!(error.to_string().contains(flag), "{argument}: {error}");
        }
    }

    #[test]
    fn addresses_without_a_host_are_loopback() {
        for (text, address) in [
            (":0", "127.0.0.1:0"),
            ("localhost:81", "127.0.0.1:81"),
            ("[::1]:82", "[::1]:82"),
            ("0.0.0.0:83", "0.0.0.0:83"),
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), address);
        }
    }

    #[test]
    fn test_keys_are_accepted_by_default_on_loopback_only() {
        let accepts =
            |arguments: &[&str], default| parse(arguments).unwrap().settings.accepts_dev_keys(default);
        assert!(accepts(&[], true) && !accepts(&[], false));
        assert!(!accepts(&["--listen=0.0.0.0:0"], true));
        assert!(accepts(&["--listen=0.0.0.0:0", "--dev-keys=on"], false));
        assert!(!accepts(&["--dev-keys=off"], true));
        assert!(accepts(&["--dev-keys=Yes"], false) && !accepts(&["--dev-keys=NO"], true));
    }

    #[test]
    fn an_admin_listener_beyond_loopback_needs_a_token() {
        let check = |arguments: &[&str]| parse(arguments).unwrap().admin.check();
        let error = check(&["--admin-listen=0.0.0.0:1"]).unwrap_err();
        assert!(error.to_string().contains("CALLVINE_ADMIN_TOKEN"));
        assert_eq!(check(&["--admin-listen=0.0.0.0:1", "--admin-token=t"]), Ok(()));
        assert_eq!(check(&["--admin-listen=[::1]:1"]), Ok(()));
        assert_eq!(check(&["--admin-listen=off"]), Ok(()));
        let settings = parse(&["--admin-token=secret"]).unwrap().admin;
        assert!(!format!("{settings:?}").contains("secret"));
    }
}
