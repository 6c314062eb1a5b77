//! API keys: their form, how they are made, and the digest that is kept of each. Pure, but for the random bytes of a new
//! key.

use std::fmt;
use std::hash::{Hash, Hasher};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::names::named;

mod form;

pub use form::could_be_a_key;

/// Characters of a key that are shown to tell keys apart: `cv_live_` and 23 bits of the random part.
const PREFIX_CHARS: usize = 12;

/// The lowest rate of a key, in calls a second: one in 1,000 seconds.
pub const RATE_MIN: f64 = 0.001;

/// The highest rate of a key, in calls a second: far above what one process takes.
pub const RATE_MAX: f64 = 1_000_000.0;

/// The published test keys, and the clients that they belong to. Everybody knows them, so no key is made for these
/// clients ([`is_reserved`]).
pub const PUBLISHED_KEYS: [(&str, &str); 2] = [("test_key_123", "test"), ("prod_key_456", "production")];

/// Whether this client belongs to a published test key: a key of its own would let everybody read its calls.
#[must_use]
pub fn is_reserved(client: &str) -> bool {
    PUBLISHED_KEYS.iter().any(|(_key, reserved)| *reserved == client)
}

/// SHA-256 of a key: all that is stored of it. Compared in constant time.
#[derive(Clone, Copy, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of a key as it was sent.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// The digest with these bytes; `None` when they are not 32.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", hex::encode(self.0))
    }
}

/// The environment that a key is for. Callvine treats both alike, and marks each call with its key's environment, so that
/// analysts can leave a test system's calls out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// `test`
    Test,
    /// `live`
    Live,
}

named!(Environment, "environment of a key", { Test => "test", Live => "live" });

/// The rights of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `provider`: posts calls, and reads those of its client.
    Provider,
    /// `analyst`: reads every client's calls and answers analyses; posts no calls.
    Analyst,
}

named!(Role, "role of a key", { Provider => "provider", Analyst => "analyst" });

/// A new key in plain text. It is shown once, to its maker, and stored nowhere.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// Makes a key: `cv_live_` or `cv_test_`, 32 random base62 characters, and 6 characters of checksum.
    ///
    /// # Errors
    /// [`NoRandomness`] when the operating system gives no random bytes.
    pub fn generate(environment: Environment) -> Result<Self, NoRandomness> {
        let mut random = [0; form::RANDOM_BYTES];
        getrandom::fill(&mut random).map_err(NoRandomness)?;
        Ok(Self(form::write(environment, &random)))
    }

    /// The key itself, for its maker alone.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its first characters, by which people tell keys apart. They give no access.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.0.get(..PREFIX_CHARS).unwrap_or_default()
    }

    /// The digest to be stored.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}…)", self.prefix())
    }
}

/// The operating system gives no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct NoRandomness(#[source] getrandom::Error);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_environment_and_is_made_anew_each_time() {
        for environment in [Environment::Test, Environment::Live] {
            let key = ApiKey::generate(environment).unwrap();
            assert!(key.reveal().starts_with(&format!("cv_{environment}_")));
            assert!(could_be_a_key(key.reveal().as_bytes()));
            assert_ne!(key.reveal(), ApiKey::generate(environment).unwrap().reveal());
        }
    }

    #[test]
    fn the_clients_of_the_published_keys_are_reserved() {
        assert!(is_reserved("test") && is_reserved("production"));
        assert!(!is_reserved("acme") && !is_reserved("Production"));
    }

    #[test]
    fn a_key_does_not_show_itself() {
        let key = ApiKey::generate(Environment::Live).unwrap();
        assert_eq!(key.prefix().len(), 12);
        assert!(key.prefix().starts_with("cv_live_") && key.reveal().starts_with(key.prefix()));
        assert_eq!(format!("{key:?}"), format!("ApiKey({}…)", key.prefix()));
    }

    #[test]
    fn a_digest_is_the_sha256_of_the_key() {
        // Independently: printf test_key_123 | sha256sum
        let digest = Digest::of(b"test_key_123");
        assert_eq!(
            hex::encode(digest.as_bytes()),
            "1f8e8c97805e4ad56c611029fbba4c04dab40bf05d18c46655696357705cc136"
        );
        assert_eq!(Digest::from_bytes(digest.as_bytes()), Some(digest));
        assert_ne!(digest, Digest::of(b"test_key_124"));
        assert_eq!(Digest::from_bytes(&[0; 31]), None);
    }

    #[test]
    fn environments_have_two_names() {
        assert_eq!("live".parse(), Ok(Environment::Live));
        assert_eq!("test".parse(), Ok(Environment::Test));
        assert!("Live".parse::<Environment>().is_err());
    }
}
