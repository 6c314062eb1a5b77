//! API keys: made, listed, replaced, revoked.

use std::time::Duration;

use callvine_shared::api_key::{ApiKey, Environment, NoRandomness, Role, is_reserved};
use callvine_shared::store::{ApiKeyRow, NewApiKey, Store, StoreError, Successor};
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

/// Longest name of a client, in characters.
const CLIENT_MAX_CHARS: usize = 255;

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its owner.
    pub client: String,
    /// Its purpose.
    pub environment: Environment,
    /// Its rights.
    pub role: Role,
    /// Calls a second that one gateway process takes; `None`: any number.
    pub rate_per_second: Option<f64>,
    /// A post with the fields of an earlier one within this time, in whole seconds, is the same call; `None`: never.
    pub dedupe: Option<Duration>,
    /// Refused after this time; `None`: never.
    pub expires_in: Option<Duration>,
}

/// A new key: in plain text, which is nowhere else, and as it is stored. Nothing is read back that could fail, and lose it.
#[derive(Clone, Debug)]
pub struct Made {
    /// The key itself.
    pub key: ApiKey,
    /// Everything else about it.
    pub row: ApiKeyRow,
}

/// Makes and stores a key.
///
/// # Errors
/// [`KeysError::Reserved`] and [`KeysError::ClientName`] for a client that can't have one, [`KeysError::NoRandomness`],
/// and [`KeysError::Create`] when it can't be stored.
pub async fn create(store: &Store, new: NewKey) -> Result<Made, KeysError> {
    check_client(&new.client)?;
    let key = ApiKey::generate(new.environment).map_err(KeysError::NoRandomness)?;
    let now = Utc::now().trunc_subsecs(0);
    let row = NewApiKey {
        client: new.client,
        environment: new.environment,
        prefix: key.prefix().to_owned(),
        digest: key.digest(),
        role: new.role,
        expires_at: new.expires_in.map(|time| after(now, time)),
        rate_per_second: new.rate_per_second,
        dedupe: new.dedupe,
    };
    let id = store.create_api_key(&row, now).await.map_err(KeysError::Create)?;
    let row = ApiKeyRow {
        id,
        client: row.client,
        environment: row.environment,
        prefix: row.prefix,
        digest: row.digest,
        role: row.role,
        expires_at: row.expires_at,
        rate_per_second: row.rate_per_second,
        dedupe: row.dedupe,
        created_at: now,
        last_used_at: None,
        revoked_at: None,
    };
    Ok(Made { key, row })
}

/// Makes a key in the place of the one with this id: for the same client and environment, with the same rights and limits.
/// The old one counts for the time of `overlap`, so that its user can change over without a gap. The new one expires
/// after `expires_in`, whatever the old one did; `None`: never.
///
/// # Errors
/// [`KeysError::Unknown`] when no key that counts has this id; else as [`create`].
pub async fn rotate(
    store: &Store,
    id: i64,
    overlap: Duration,
    expires_in: Option<Duration>,
) -> Result<Made, KeysError> {
    let old = find(store, id).await?;
    let key = ApiKey::generate(old.environment).map_err(KeysError::NoRandomness)?;
    let now = Utc::now().trunc_subsecs(0);
    let new = Successor {
        prefix: key.prefix().to_owned(),
        digest: key.digest(),
        expires_at: expires_in.map(|time| after(now, time)),
    };
    let made = store.replace_api_key(id, &new, after(now, overlap), now).await.map_err(KeysError::Create)?;
    let row = ApiKeyRow {
        id: made.ok_or(KeysError::Unknown(id))?,
        prefix: new.prefix,
        digest: new.digest,
        expires_at: new.expires_at,
        created_at: now,
        last_used_at: None,
        revoked_at: None,
        ..old
    };
    Ok(Made { key, row })
}

/// All keys, revoked ones too, in the order in which they were made. Not in pages: every gateway has all of them in
/// memory too.
///
/// # Errors
/// [`KeysError::List`] when the database can't be asked.
pub async fn list(store: &Store) -> Result<Vec<ApiKeyRow>, KeysError> {
    store.api_keys().await.map_err(KeysError::List)
}

/// Revokes a key, and returns it as it is then; `None`: it is revoked, and only a newer version can read it. Gateways refuse
/// it within 5 s.
///
/// # Errors
/// [`KeysError::Unknown`] when no unrevoked key has this id, [`KeysError::List`] and [`KeysError::Revoke`] when the
/// database can't be read or written: then it may still be accepted.
pub async fn revoke(store: &Store, id: i64) -> Result<Option<ApiKeyRow>, KeysError> {
    let row = list(store).await?.into_iter().find(|row| row.id == id);
    let now = Utc::now().trunc_subsecs(0);
    let revoked = store.revoke_api_key(id, now).await.map_err(KeysError::Revoke)?;
    if !revoked {
        return Err(KeysError::Unknown(id));
    }
    Ok(row.map(|row| ApiKeyRow { revoked_at: Some(now), ..row }))
}

async fn find(store: &Store, id: i64) -> Result<ApiKeyRow, KeysError> {
    list(store).await?.into_iter().find(|row| row.id == id).ok_or(KeysError::Unknown(id))
}

fn check_client(client: &str) -> Result<(), KeysError> {
    if is_reserved(client) {
        return Err(KeysError::Reserved(client.to_owned()));
    }
    let is_name = client.trim() == client
        && (1..=CLIENT_MAX_CHARS).contains(&client.chars().count())
        && !client.chars().any(char::is_control);
    if is_name { Ok(()) } else { Err(KeysError::ClientName) }
}

/// `now` and a while; a while beyond the calendar is the end of the calendar.
fn after(now: DateTime<Utc>, time: Duration) -> DateTime<Utc> {
    let time = TimeDelta::from_std(time).ok();
    time.and_then(|time| now.checked_add_signed(time)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Why keys can't be dealt with.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The client belongs to a published test key.
    #[error("the client {0} belongs to a published test key, which everybody knows: choose another name")]
    Reserved(String),
    /// The name of the client can't be used.
    #[error(
        "the name of a client has 1 to {CLIENT_MAX_CHARS} characters, none of them a control character, and no white space around it"
    )]
    ClientName,
    /// The operating system gives no random bytes.
    #[error("cannot make a key")]
    NoRandomness(#[source] NoRandomness),
    /// The new key was not stored, and must not be used.
    #[error("cannot store the key")]
    Create(#[source] StoreError),
    /// The keys can't be read.
    #[error("cannot read the keys")]
    List(#[source] StoreError),
    /// The key may still be accepted.
    #[error("cannot revoke the key")]
    Revoke(#[source] StoreError),
    /// There is no such key, or it counts no more.
    #[error("there is no key with id {0} that is still accepted (see `callvine keys list`)")]
    Unknown(i64),
}
