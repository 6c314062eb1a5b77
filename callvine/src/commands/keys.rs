//! `callvine keys create`, `list` and `revoke`.

use anyhow::{Context, anyhow};
use callvine_shared::api_key::{ApiKey, Environment};
use callvine_shared::store::{ApiKeyRow, NewApiKey, Store};
use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::Table;
use serde::Serialize;

use crate::args::{self, CreateKey, Database, Keys, ListKeys, RevokeKey};
use crate::failure::Failure;
use crate::process;

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
    let store = process::open(&process::url_of(database)).await?;
    store.migrate().await.context("cannot migrate the database")?;
    Ok(store)
}

#[expect(clippy::print_stdout, reason = "what the command has to say")]
async fn create_key(create: CreateKey) -> Result<(), Failure> {
    let store = open(&create.database).await?;
    let environment = match create.env {
        args::Environment::Test => Environment::Test,
        args::Environment::Live => Environment::Live,
    };
    let key = ApiKey::generate(environment).context("cannot make a key")?;
    let row = NewApiKey {
        client: create.client,
        environment,
        prefix: key.prefix().to_owned(),
        digest: key.digest(),
    };
    store.create_api_key(&row, Utc::now()).await.context("cannot store the key")?;
    store.close().await;
    println!("{}", key.reveal());
    Ok(())
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

#[expect(clippy::print_stdout, reason = "what the command has to say")]
async fn list_keys(list: &ListKeys) -> Result<(), Failure> {
    let store = open(&list.database).await?;
    let rows = store.api_keys().await.context("cannot read the keys")?;
    store.close().await;
    let lines = rows.iter().map(Line::new);
    if list.json {
        for line in lines {
            println!("{}", serde_json::to_string(&line).context("cannot write a key as JSON")?);
        }
        return Ok(());
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
    println!("{table}");
    Ok(())
}

async fn revoke_key(revoke: &RevokeKey) -> Result<(), Failure> {
    let store = open(&revoke.database).await?;
    let revoked = store.revoke_api_key(revoke.id, Utc::now()).await.context("cannot revoke the key")?;
    store.close().await;
    if revoked {
        Ok(())
    } else {
        Err(anyhow!("there is no unrevoked key with id {} (see `callvine keys list`)", revoke.id).into())
    }
}
