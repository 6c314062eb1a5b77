//! `callvine keys create`, `list` and `revoke`.

use anyhow::Context;
use callvine_operator::keys::{self, KeysError};
use callvine_shared::api_key;
use callvine_shared::store::{ApiKeyRow, Store};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::Table;
use serde::Serialize;

use crate::args::Database;
use crate::failure::Failure;
use crate::{process, terminal};

#[derive(Subcommand, Debug)]
pub(crate) enum Keys {
    /// Makes a key and prints it, this once
    Create(Create),
    /// Lists all keys, revoked ones too
    List(List),
    /// Revokes a key; it is refused everywhere within 5 s
    Revoke(Revoke),
}

#[derive(Args, Debug)]
pub(crate) struct Create {
    /// The owner of the key; a client may hold several
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    client: String,
    /// The purpose of the key; its prefix shows it
    #[arg(long, value_enum, default_value_t = Environment::Live)]
    env: Environment,
    #[command(flatten)]
    database: Database,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Environment {
    /// `cv_test_…`
    Test,
    /// `cv_live_…`
    Live,
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: Database,
}

#[derive(Args, Debug)]
pub(crate) struct Revoke {
    /// The key's id, as `keys list` shows it
    id: i64,
    #[command(flatten)]
    database: Database,
}

/// Carries out one of the key commands.
pub(crate) async fn run(keys: Keys) -> Result<(), Failure> {
    match keys {
        Keys::Create(create) => create_key(create).await,
        Keys::List(list) => list_keys(&list).await,
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
    anyhow::Error::new(error).into()
}

async fn create_key(create: Create) -> Result<(), Failure> {
    let store = open(&create.database).await?;
    let environment = match create.env {
        Environment::Test => api_key::Environment::Test,
        Environment::Live => api_key::Environment::Live,
    };
    let key = keys::create(&store, create.client, environment).await.map_err(failure)?;
    store.close().await;
    Ok(terminal::line(key.reveal())?)
}

#[derive(Serialize)]
struct Line<'a> {
    id: i64,
    client: &'a str,
    env: &'a str,
    prefix: &'a str,
    created_at: String,
    last_used_at: Option<String>,
    revoked_at: Option<String>,
}

impl<'a> Line<'a> {
    fn new(row: &'a ApiKeyRow) -> Self {
        let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        Self {
            id: row.id,
            client: &row.client,
            env: row.environment.name(),
            prefix: &row.prefix,
            created_at: text(row.created_at),
            last_used_at: row.last_used_at.map(text),
            revoked_at: row.revoked_at.map(text),
        }
    }
}

async fn list_keys(list: &List) -> Result<(), Failure> {
    let store = open(&list.database).await?;
    let rows = keys::list(&store).await.map_err(failure)?;
    store.close().await;
    let mut lines = rows.iter().map(Line::new);
    if list.json {
        return Ok(lines.try_for_each(|line| terminal::json(&line))?);
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["id", "client", "env", "prefix", "created", "last used", "revoked"]);
    let or_dash = |at: Option<String>| at.unwrap_or_else(|| "-".to_owned());
    for line in lines {
        table.add_row([
            line.id.to_string(),
            line.client.to_owned(),
            line.env.to_owned(),
            line.prefix.to_owned(),
            line.created_at,
            or_dash(line.last_used_at),
            or_dash(line.revoked_at),
        ]);
    }
    Ok(terminal::line(table)?)
}

async fn revoke_key(revoke: &Revoke) -> Result<(), Failure> {
    let store = open(&revoke.database).await?;
    let revoked = keys::revoke(&store, revoke.id).await;
    store.close().await;
    revoked.map_err(failure)
}
