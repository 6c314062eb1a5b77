//! Signs the requests of one fetch in: which user name, password or token goes to which host, and answers to Digest
//! challenges (RFC 7616).
//!
//! A user name and password of a URL go to that URL's own origin, and with it to HTTPS at the same host. Those of the
//! credentials file go to their host. Nothing goes anywhere else, whatever a redirect says.

use std::fmt;

use http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http_auth::{PasswordClient, PasswordParams};
use percent_encoding::percent_decode_str;
use secrecy::ExposeSecret;
use url::{Origin, Position, Url};

use super::Wanted;
use super::credentials::{Credential, Credentials, basic, secret};
use crate::recording::failure::{Failure, Reason};

/// Most bytes of all challenges of one answer that are looked at: each has a nonce of some dozens of bytes.
const CHALLENGES_BYTES_MAX: usize = 8 * 1024;

/// Signs in for one recording.
pub(super) struct Signer<'a> {
    wanted: &'a Wanted,
    credentials: &'a Credentials,
    /// The last challenge, and who made it.
    digest: Option<(Origin, PasswordClient)>,
}

impl fmt::Debug for Signer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

/// The user name and password, or the token, for a URL.
enum Secret<'a> {
    Password { user: Vec<u8>, password: Vec<u8> },
    OfFile(&'a Credential),
}

impl<'a> Signer<'a> {
    pub(super) fn new(wanted: &'a Wanted, credentials: &'a Credentials) -> Self {
        Self { wanted, credentials, digest: None }
    }

    /// The header that signs a GET of `url` in, if there is anything to sign in with. Basic and tokens go with the first
    /// request: hosts that want them answer others with 403, 404 or a page. Once a host has asked for Digest, it gets that.
    pub(super) fn authorization(&mut self, url: &Url) -> Result<Option<HeaderValue>, Failure> {
        let Some(known) = self.secret(url) else { return Ok(None) };
        if let Some((origin, client)) = &mut self.digest
            && *origin == url.origin()
            && let Some(answer) = answer(client, url, &known)
        {
            return Ok(Some(answer));
        }
        let header = match &known {
            Secret::Password { user, password } => basic(user, password),
            Secret::OfFile(credential) => credential.authorization(),
        };
        header.map(Some).ok_or_else(not_valid)
    }

    /// Takes the Digest challenge of a 401, if there is one and a password to answer it with.
    pub(super) fn is_challenged(&mut self, url: &Url, headers: &HeaderMap) -> bool {
        let Some(known) = self.secret(url) else { return false };
        let mut challenges = PasswordClient::builder();
        let mut left = CHALLENGES_BYTES_MAX;
        for value in headers.get_all(WWW_AUTHENTICATE) {
            let Some(rest) = left.checked_sub(value.len()) else { break };
            left = rest;
            if let Ok(value) = value.to_str() {
                challenges = challenges.challenges(value);
            }
        }
        let Ok(mut client) = challenges.build() else { return false };
        let answers = answer(&mut client, url, &known).is_some();
        if answers {
            self.digest = Some((url.origin(), client));
        }
        answers
    }

    fn secret(&self, url: &Url) -> Option<Secret<'a>> {
        let first = &self.wanted.url;
        let belongs = |named: &Url| named.origin() == url.origin() || is_upgrade(named, url);
        if let Some(named) = [url, first].into_iter().find(|named| !is_anonymous(named) && belongs(named)) {
            let decoded = |text: &str| percent_decode_str(text).collect();
            let password = decoded(named.password().unwrap_or_default());
            return Some(Secret::Password { user: decoded(named.username()), password });
        }
        self.credentials.of(url, &self.wanted.client).map(Secret::OfFile)
    }
}

/// The answer to a challenge; `None` where it can't be given: for a token, a name that is not UTF-8, or an algorithm that
/// is not known.
fn answer(client: &mut PasswordClient, url: &Url, known: &Secret<'_>) -> Option<HeaderValue> {
    let (user, password) = match known {
        Secret::Password { user, password } => {
            (std::str::from_utf8(user).ok()?, std::str::from_utf8(password).ok()?)
        }
        Secret::OfFile(Credential::Basic { user, password }) => (user.as_str(), password.expose_secret()),
        Secret::OfFile(Credential::Bearer(_)) => return None,
    };
    let uri = &url[Position::BeforePath..Position::AfterQuery];
    let mut respond =
        |body| client.respond(&PasswordParams { username: user, password, uri, method: "GET", body }).ok();
    // Without the body the crate takes `auth`, which every host knows, before `auth-int`.
    secret(respond(None).or_else(|| respond(Some(&[])))?)
}

fn is_anonymous(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

/// Whether `to` is the host of `from`, now with a certificate to prove it.
fn is_upgrade(from: &Url, to: &Url) -> bool {
    from.scheme() == "http" && to.scheme() == "https" && from.host() == to.host()
}

fn not_valid() -> Failure {
    Failure::new(Reason::BlockedAddress, "the address is not a valid URL")
}

#[cfg(test)]
mod tests;
