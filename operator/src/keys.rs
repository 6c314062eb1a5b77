//! API keys: made, listed, revoked.

use callvine_shared::api_key::{ApiKey, Environment, NoRandomness, Role};
use callvine_shared::store::{ApiKeyRow, NewApiKey, Store, StoreError};
use chrono::Utc;

/// Makes and stores a key. Its plaintext is in the result and nowhere else.
///
/// # Errors
/// [`KeysError::NoRandomness`], and [`KeysError::Create`] when it can't be stored.
pub async fn create(store: &Store, client: String, environment: Environment) -> Result<ApiKey, KeysError> {
    let key = ApiKey::generate(environment).map_err(KeysError::NoRandomness)?;
    let row = NewApiKey {
        client,
        environment,
        prefix: key.prefix().to_owned(),
        digest: key.digest(),
        role: Role::Provider,
        expires_at: None,
        rate_per_second: None,
        dedupe: None,
    };
    store.create_api_key(&row, Utc::now()).await.map_err(KeysError::Create)?;
    Ok(key)
}

/// All keys, revoked ones too, in the order in which they were made. Not in pages: every gateway has all of them in
/// memory too.
///
/// # Errors
/// [`KeysError::List`] when the database can't be asked.
pub async fn list(store: &Store) -> Result<Vec<ApiKeyRow>, KeysError> {
    store.api_keys().await.map_err(KeysError::List)
}

/// Revokes a key. Gateways refuse it within 5 s.
///
/// # Errors
/// [`KeysError::Unknown`] when no unrevoked key has this id, [`KeysError::Revoke`] when the database can't be written.
pub async fn revoke(store: &Store, id: i64) -> Result<(), KeysError> {
    let revoked = store.revoke_api_key(id, Utc::now()).await.map_err(KeysError::Revoke)?;
    if revoked { Ok(()) } else { Err(KeysError::Unknown(id)) }
}

/// Why keys can't be dealt with.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
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
    /// There is no such key, or it was revoked before.
    #[error("there is no unrevoked key with id {0} (see `callvine keys list`)")]
    Unknown(i64),
}
