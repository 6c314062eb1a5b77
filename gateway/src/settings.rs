//! The settings of the public listener; those of the admin listener are in [`admin`].
//!
//! A wrong value ends the start: clap refuses it while it reads the command line, and `check` refuses values that
//! contradict each other.

mod address;
mod admin;
mod tls;

use bytesize::ByteSize;
use callvine_shared::networks::Networks;
use callvine_shared::switch::on_or_off;

use crate::ConnectionLimits;
pub use address::ListenAddress;
pub use admin::{AdminListen, AdminSettings, SettingsError};
pub use tls::{TlsSettings, TlsSettingsError};

/// Largest `CALLVINE_MAX_BODY`: every request under way holds its body in memory.
const BODY_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Largest `CALLVINE_MAX_IN_FLIGHT`: at about 1 KiB each, so many calls take a gigabyte.
const IN_FLIGHT_MAX: u64 = 1_000_000;

/// Largest `CALLVINE_MAX_CONNECTIONS`: an idle one takes a file descriptor and about 10 KiB.
const CONNECTIONS_MAX: u64 = 1_000_000;

/// The part of all connections that one address may have.
const SHARE_OF_ADDRESS: usize = 4;

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

    /// Calls being read, or accepted and not yet answered; more are refused with 503
    #[arg(
        long,
        env = "CALLVINE_MAX_IN_FLIGHT",
        value_name = "N",
        default_value = "10000",
        value_parser = max_in_flight
    )]
    pub max_in_flight: usize,

    /// Connections open at once; a newcomer takes the place of the one that has been idle longest
    #[arg(
        long,
        env = "CALLVINE_MAX_CONNECTIONS",
        value_name = "N",
        default_value = "10000",
        value_parser = max_connections
    )]
    pub max_connections: usize,

    /// Those of them from one address, except loopback [default: a quarter]
    #[arg(
        long,
        env = "CALLVINE_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "N",
        value_parser = max_connections
    )]
    pub max_connections_per_address: Option<usize>,

    /// Networks (CIDR, comma-separated) of proxies whose `X-Forwarded-For` is believed
    #[arg(
        long,
        env = "CALLVINE_TRUSTED_PROXIES",
        value_name = "NETWORKS",
        default_value = "",
        hide_default_value = true
    )]
    pub trusted_proxies: Networks,
}

impl Settings {
    /// How many connections the listener holds.
    #[must_use]
    pub fn connection_limits(&self) -> ConnectionLimits {
        let max = self.max_connections;
        let share = self.max_connections_per_address.unwrap_or(max.div_ceil(SHARE_OF_ADDRESS));
        ConnectionLimits { max, max_per_address: share }
    }

    /// Whether the published test keys are accepted. Where the setting is absent, they are if the command's `default`
    /// says so and only this host can connect.
    #[must_use]
    pub fn accepts_dev_keys(&self, default: bool) -> bool {
        self.dev_keys.unwrap_or(default && self.listen.0.ip().is_loopback())
    }
}

fn max_body(text: &str) -> Result<usize, String> {
    let bytes = text.parse::<ByteSize>().map_or(0, |size| size.as_u64());
    bounded(bytes, BODY_MAX_BYTES).ok_or("must be a size above zero such as 64KiB, at most 16MiB".to_owned())
}

fn max_in_flight(text: &str) -> Result<usize, String> {
    whole_number(text, IN_FLIGHT_MAX)
}

fn max_connections(text: &str) -> Result<usize, String> {
    whole_number(text, CONNECTIONS_MAX)
}

fn whole_number(text: &str, max: u64) -> Result<usize, String> {
    bounded(text.parse().unwrap_or(0), max).ok_or(format!("must be a whole number from 1 to {max}"))
}

fn bounded(value: u64, max: u64) -> Option<usize> {
    usize::try_from(value).ok().filter(|_| (1..=max).contains(&value))
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
        let ConnectionLimits { max, max_per_address } = settings.connection_limits();
        assert_eq!((max, max_per_address), (10_000, 2_500));
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
            "--max-connections=0",
            "--max-connections=1000001",
            "--max-connections=many",
            "--max-connections-per-address=0",
            "--max-connections-per-address=-1",
        ] {
            let error = parse(&[argument]).expect_err(argument);
            assert_eq!(error.exit_code(), 2, "{argument}");
            let flag = argument.split('=').next().unwrap();
            assert!(error.to_string().contains(flag), "{argument}: {error}");
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
}
