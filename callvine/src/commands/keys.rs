//! `callvine keys create`, `list`, `rotate` and `revoke`.

mod shown;

use std::time::Duration;

use anyhow::Context;
use callvine_operator::keys::{self, KeysError, Made, NewKey};
use callvine_shared::api_key::{self, RATE_MAX, RATE_MIN};
use callvine_shared::store::Store;
use clap::{Args, Subcommand, ValueEnum};

use crate::args::{Database, duration};
use crate::failure::Failure;
use crate::{process, terminal};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest life of a key that expires: a hundred years.
const EXPIRES_MAX: Duration = DAY.saturating_mul(36_500);

/// The longest time within which repeated posts are one call.
const DEDUPE_MAX: Duration = DAY.saturating_mul(30);

/// The longest time for which a replaced key still counts.
const OVERLAP_MAX: Duration = DAY.saturating_mul(365);

#[derive(Subcommand, Debug)]
pub(crate) enum Keys {
    /// Makes a key and prints it, this once
    #[command(after_help = "Example:\n  callvine keys create --client acme --rate 20 --expires 90d")]
    Create(Create),
    /// Lists all keys, revoked ones too
    #[command(after_help = "Example:\n  callvine keys list --json")]
    List(List),
    /// Makes a key in the place of another one, which counts for a while longer, and prints it, this once
    ///
    /// The new key is for the same client and environment, with the same role, rate and dedupe. It never expires unless
    /// --expires is given.
    #[command(after_help = "Example:\n  callvine keys rotate 7 --overlap 48h")]
    Rotate(Rotate),
    /// Revokes a key; it is refused everywhere within 5 s
    #[command(after_help = "Example:\n  callvine keys revoke 7")]
    Revoke(Revoke),
}

#[derive(Args, Debug)]
pub(crate) struct Create {
    /// The owner of the key; a client may hold several. `test` and `production` belong to the published test keys
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    client: String,
    /// The rights of the key
    #[arg(long, value_enum, default_value_t = Role::Provider)]
    role: Role,
    /// The purpose of the key; its prefix shows it, and so do the calls that are sent with it
    #[arg(long, value_enum, default_value_t = Environment::Live)]
    env: Environment,
    /// Calls a second that one gateway process takes with the key, such as 20 or 0.5, and in one burst those of a second;
    /// more are refused with 429 [default: any number]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    rate: Option<f64>,
    /// A post with the same seven fields within this time, such as 24h, is the same call [default: it is another call]
    #[arg(long, value_name = "TIME", value_parser = dedupe)]
    dedupe: Option<Duration>,
    /// How long the key counts, such as 90d [default: until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = expires)]
    expires: Option<Duration>,
    #[command(flatten)]
    output: Output,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Posts calls, and reads those of its client
    Provider,
    /// Reads every client's calls; posts none
    Analyst,
}

impl From<Role> for api_key::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Provider => Self::Provider,
            Role::Analyst => Self::Analyst,
        }
    }
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Environment {
    /// `cv_test_…`
    Test,
    /// `cv_live_…`
    Live,
}

impl From<Environment> for api_key::Environment {
    fn from(environment: Environment) -> Self {
        match environment {
            Environment::Test => Self::Test,
            Environment::Live => Self::Live,
        }
    }
}

/// How the result is printed, and where the keys are.
#[derive(Args, Debug)]
struct Output {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: Database,
}

#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    output: Output,
}

#[derive(Args, Debug)]
pub(crate) struct Rotate {
    /// The id of the key to be replaced, as `keys list` shows it
    id: i64,
    /// How long the old key counts beside the new one; 0s: it is refused at once
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = overlap)]
    overlap: Duration,
    /// How long the new key counts, such as 90d [default: until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = expires)]
    expires: Option<Duration>,
    #[command(flatten)]
    output: Output,
}

#[derive(Args, Debug)]
pub(crate) struct Revoke {
    /// The key's id, as `keys list` shows it
    id: i64,
    #[command(flatten)]
    output: Output,
}

/// Carries out one of the key commands.
pub(crate) async fn run(keys: Keys) -> Result<(), Failure> {
    match keys {
        Keys::Create(create) => create_key(create).await,
        Keys::List(list) => list_keys(&list).await,
        Keys::Rotate(rotate) => rotate_key(&rotate).await,
        Keys::Revoke(revoke) => revoke_key(&revoke).await,
    }
}

/// The database, at the current schema: a first key may be made before anything else has run.
async fn open(database: &Database) -> Result<Store, Failure> {
    let store = process::open(&database.url()?).await?;
    store.migrate().await.context("cannot migrate the database")?;
    Ok(store)
}

fn failure(error: KeysError) -> Failure {
    match error {
        KeysError::Reserved(_) | KeysError::ClientName => Failure::Setting(format!("--client: {error}")),
        _ => anyhow::Error::new(error).into(),
    }
}

async fn create_key(create: Create) -> Result<(), Failure> {
    let store = open(&create.output.database).await?;
    let new = NewKey {
        client: create.client,
        environment: create.env.into(),
        role: create.role.into(),
        rate_per_second: create.rate,
        dedupe: create.dedupe,
        expires_in: create.expires,
    };
    let made = keys::create(&store, new).await;
    store.close().await;
    print_made(&made.map_err(failure)?, create.output.json)
}

async fn rotate_key(rotate: &Rotate) -> Result<(), Failure> {
    let store = open(&rotate.output.database).await?;
    let made = keys::rotate(&store, rotate.id, rotate.overlap, rotate.expires).await;
    store.close().await;
    print_made(&made.map_err(failure)?, rotate.output.json)
}

/// Without JSON the key stands alone, for a shell to take it.
fn print_made(made: &Made, json: bool) -> Result<(), Failure> {
    let key = made.key.reveal();
    Ok(if json { shown::object(&made.row, Some(key)) } else { terminal::line(key) }?)
}

async fn list_keys(list: &List) -> Result<(), Failure> {
    let store = open(&list.output.database).await?;
    let rows = keys::list(&store).await.map_err(failure)?;
    store.close().await;
    if list.output.json {
        return Ok(rows.iter().try_for_each(|row| shown::object(row, None))?);
    }
    Ok(shown::table(&rows)?)
}

async fn revoke_key(revoke: &Revoke) -> Result<(), Failure> {
    let store = open(&revoke.output.database).await?;
    let revoked = keys::revoke(&store, revoke.id).await;
    store.close().await;
    match revoked.map_err(failure)? {
        Some(row) if revoke.output.json => Ok(shown::object(&row, None)?),
        _ => Ok(()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (RATE_MIN..=RATE_MAX).contains(rate));
    rate.ok_or(format!("must be calls a second such as 20 or 0.5, from {RATE_MIN} to {RATE_MAX}"))
}

fn dedupe(text: &str) -> Result<Duration, String> {
    at_least_a_second(duration(text, DEDUPE_MAX, "24h")?)
}

fn expires(text: &str) -> Result<Duration, String> {
    at_least_a_second(duration(text, EXPIRES_MAX, "90d")?)
}

fn overlap(text: &str) -> Result<Duration, String> {
    duration(text, OVERLAP_MAX, "24h")
}

/// The database keeps whole seconds.
fn at_least_a_second(time: Duration) -> Result<Duration, String> {
    let is_kept = time.as_secs() > 0 && time.subsec_nanos() == 0;
    if is_kept { Ok(time) } else { Err("must be whole seconds, at least 1s".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_times_have_bounds() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for text in ["0", "-1", "nan", "inf", "1e-4", "1000001", "20/s", ""] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!(dedupe("24h"), Ok(DAY));
        assert_eq!(expires("90d"), Ok(90 * DAY));
        assert_eq!(overlap("0s"), Ok(Duration::ZERO));
        for text in ["0s", "1500ms", "31d", "24", ""] {
            assert!(dedupe(text).is_err(), "{text}");
        }
        assert!(expires("0s").is_err() && expires("101years").is_err() && overlap("2years").is_err());
    }
}
