//! The settings of the recording worker: one line each for flag, variable, default and help.
//!
//! Every value is judged here, while the command line is read, so that a wrong one ends the start.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use callvine_shared::cell::PROOF_TIMEOUT_MAX;
use callvine_shared::networks::Networks;
use callvine_shared::retry;

/// Longest `CALLVINE_FETCH_TIMEOUT`. RabbitMQ closes a channel whose delivery is unacknowledged for 30 minutes, and
/// proving and storing the recording needs time too.
const FETCH_TIMEOUT_MAX: Duration = Duration::from_secs(25 * 60);

/// Longest `CALLVINE_FETCH_BACKOFF`: no attempt waits longer than an hour, so a longer first wait has no meaning.
const FETCH_BACKOFF_MAX: Duration = Duration::from_secs(60 * 60);

/// Longest `CALLVINE_REQUEUE_AFTER`: a lost recording that may wait for more than a week is not missed.
const REQUEUE_AFTER_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Most fetches at once, by one worker or from one host. Each holds a connection, an open file and under 1 MiB of buffers.
/// For more, run a second worker.
const CONCURRENCY_MAX: u64 = 1024;

/// Most attempts at one recording. With waits of half an hour to an hour this is two to four days.
const ATTEMPTS_MAX: u64 = 100;

/// How recordings are fetched: flags, each with an environment variable and a default.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Recordings")]
#[group(id = "recordings")]
pub struct Settings {
    /// Recordings fetched at once by one worker
    #[arg(
        long,
        env = "CALLVINE_WORKER_CONCURRENCY",
        value_name = "N",
        default_value = "16",
        value_parser = concurrency
    )]
    pub worker_concurrency: usize,

    /// Largest recording; a larger one fails as `too_large`
    #[arg(
        long,
        env = "CALLVINE_MAX_RECORDING",
        value_name = "SIZE",
        default_value = "512MiB",
        value_parser = size_bytes
    )]
    pub max_recording: u64,

    /// Free space of the disk that recordings may not take; one that would take it is tried again later
    #[arg(
        long,
        env = "CALLVINE_MIN_FREE",
        value_name = "SIZE",
        default_value = "1GiB",
        value_parser = min_free
    )]
    pub min_free: u64,

    /// Longest fetch of one recording from the first byte sent to the last received, at most 25m
    #[arg(
        long,
        env = "CALLVINE_FETCH_TIMEOUT",
        value_name = "TIME",
        default_value = "10m",
        value_parser = fetch_timeout
    )]
    pub fetch_timeout: Duration,

    /// Longest wait for a connection, TLS included
    #[arg(
        long,
        env = "CALLVINE_FETCH_CONNECT_TIMEOUT",
        value_name = "TIME",
        default_value = "10s",
        value_parser = fetch_timeout
    )]
    pub fetch_connect_timeout: Duration,

    /// Longest time without a byte from the host
    #[arg(
        long,
        env = "CALLVINE_FETCH_IDLE_TIMEOUT",
        value_name = "TIME",
        default_value = "30s",
        value_parser = fetch_timeout
    )]
    pub fetch_idle_timeout: Duration,

    /// Attempts before a recording goes to the dead letters
    #[arg(
        long,
        env = "CALLVINE_FETCH_ATTEMPTS",
        value_name = "N",
        default_value_t = retry::ATTEMPTS_DEFAULT,
        value_parser = attempts
    )]
    pub fetch_attempts: u32,

    /// Longest wait after the first failed attempt; doubled each time, with jitter, at most 1h; a host's Retry-After wins
    #[arg(
        long,
        env = "CALLVINE_FETCH_BACKOFF",
        value_name = "TIME",
        default_value = "5s",
        value_parser = fetch_backoff
    )]
    pub fetch_backoff: Duration,

    /// Networks (CIDR, comma-separated) that are fetched from, at every port, although they are not public
    #[arg(
        long,
        env = "CALLVINE_FETCH_ALLOW",
        value_name = "NETWORKS",
        default_value = "",
        hide_default_value = true
    )]
    pub fetch_allow: Networks,

    /// A TOML file: host -> user and password, or bearer token, sent to that host alone, over TLS
    #[arg(long, env = "CALLVINE_FETCH_CREDENTIALS", value_name = "FILE")]
    pub fetch_credentials: Option<PathBuf>,

    /// Recordings fetched at once from one host
    #[arg(
        long,
        env = "CALLVINE_FETCH_PER_HOST",
        value_name = "N",
        default_value = "4",
        value_parser = concurrency
    )]
    pub fetch_per_host: usize,

    /// Longest proof of one recording, at most 4m; a small one gets 30s and 4s for each MiB
    #[arg(
        long,
        env = "CALLVINE_PROOF_TIMEOUT",
        value_name = "TIME",
        default_value = "3m",
        value_parser = proof_timeout
    )]
    pub proof_timeout: Duration,

    /// A pending recording to which nothing happens for so long, because its message was lost, is queued again
    #[arg(
        long,
        env = "CALLVINE_REQUEUE_AFTER",
        value_name = "TIME",
        default_value = "5m",
        value_parser = requeue_after
    )]
    pub requeue_after: Duration,
}

fn concurrency(text: &str) -> Result<usize, String> {
    let count = whole(text, CONCURRENCY_MAX)?;
    usize::try_from(count).map_err(|error| error.to_string())
}

fn attempts(text: &str) -> Result<u32, String> {
    let count = whole(text, ATTEMPTS_MAX)?;
    u32::try_from(count).map_err(|error| error.to_string())
}

fn whole(text: &str, max: u64) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(count) if (1..=max).contains(&count) => Ok(count),
        _ => Err(format!("must be a whole number from 1 to {max}")),
    }
}

fn size_bytes(text: &str) -> Result<u64, String> {
    match text.parse::<ByteSize>() {
        Ok(ByteSize(0)) | Err(_) => Err("must be a size above zero such as 512MiB".to_owned()),
        Ok(ByteSize(bytes)) => Ok(bytes),
    }
}

fn min_free(text: &str) -> Result<u64, String> {
    let size = text.parse::<ByteSize>();
    size.map(|ByteSize(bytes)| bytes).map_err(|_| "must be a size such as 1GiB, or 0 for none".to_owned())
}

fn fetch_timeout(text: &str) -> Result<Duration, String> {
    time(text, FETCH_TIMEOUT_MAX)
}

fn fetch_backoff(text: &str) -> Result<Duration, String> {
    time(text, FETCH_BACKOFF_MAX)
}

fn proof_timeout(text: &str) -> Result<Duration, String> {
    time(text, PROOF_TIMEOUT_MAX)
}

fn requeue_after(text: &str) -> Result<Duration, String> {
    time(text, REQUEUE_AFTER_MAX)
}

fn time(text: &str, max: Duration) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if !time.is_zero() && time <= max => Ok(time),
        _ => {
            Err(format!("must be a time above zero such as 10s, at most {}", humantime::format_duration(max)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser, Debug)]
    struct Command {
        #[command(flatten)]
        settings: Settings,
    }

    fn parse(arguments: &[&str]) -> Result<Settings, clap::Error> {
        let command = Command::try_parse_from(std::iter::once(&"worker").chain(arguments))?;
        Ok(command.settings)
    }

    #[test]
    fn defaults_are_the_published_ones() {
        let settings = parse(&[]).unwrap();
        assert_eq!(settings.worker_concurrency, 16);
        assert_eq!(settings.max_recording, 512 * 1024 * 1024);
        assert_eq!(settings.min_free, 1024 * 1024 * 1024);
        assert_eq!(settings.fetch_timeout, Duration::from_secs(600));
        assert_eq!(settings.fetch_connect_timeout, Duration::from_secs(10));
        assert_eq!(settings.fetch_idle_timeout, Duration::from_secs(30));
        assert_eq!(settings.fetch_attempts, 14);
        assert_eq!(settings.fetch_attempts, retry::ATTEMPTS_DEFAULT);
        assert_eq!(settings.fetch_backoff, retry::BACKOFF_DEFAULT);
        assert_eq!(settings.fetch_allow, Networks::default());
        assert_eq!(settings.fetch_credentials, None);
        assert_eq!(settings.fetch_per_host, 4);
        assert_eq!(settings.proof_timeout, Duration::from_secs(180));
        assert_eq!(settings.requeue_after, Duration::from_secs(300));
    }

    #[test]
    fn every_setting_has_the_variable_of_its_flag() {
        use clap::CommandFactory;
        let command = Command::command();
        for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
            let flag = argument.get_long().unwrap();
            let variable = format!("CALLVINE_{}", flag.to_uppercase().replace('-', "_"));
            assert_eq!(argument.get_env().unwrap().to_str().unwrap(), variable);
            assert!(argument.get_help().is_some(), "{flag} has no help");
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        for argument in [
            "--worker-concurrency=0",
            "--worker-concurrency=1025",
            "--worker-concurrency=many",
            "--max-recording=0",
            "--max-recording=big",
            "--max-recording=-1",
            "--min-free=plenty",
            "--min-free=-1",
            "--fetch-timeout=0s",
            "--fetch-timeout=26m",
            "--fetch-timeout=10",
            "--fetch-connect-timeout=0s",
            "--fetch-idle-timeout=",
            "--fetch-attempts=0",
            "--fetch-attempts=-1",
            "--fetch-backoff=0s",
            "--fetch-backoff=2h",
            "--fetch-per-host=0",
            "--requeue-after=0s",
            "--requeue-after=8d",
            "--fetch-allow=10.0.0.0/33",
            "--fetch-allow=localhost",
            "--fetch-allow=::ffff:10.0.0.0/104",
        ] {
            let error = parse(&[argument]).expect_err(argument);
            assert_eq!(error.exit_code(), 2, "{argument}");
            let flag = argument.split('=').next().unwrap();
            assert!(error.to_string().contains(flag), "{argument}: {error}");
        }
    }
}
