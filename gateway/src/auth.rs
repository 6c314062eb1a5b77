//! Finds the key in a request's headers. The key ring tells its client.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use callvine_shared::api_key::Role;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::{AUTHORIZATION, FORWARDED, HeaderName, VIA};

use crate::key_ring::{Key, KeyRing};
use crate::rejection::Rejection;

/// `Authorization` counts only where this header is absent or empty.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The headers of a request that came through a proxy (RFC 7239, RFC 9110 7.6.3, and the older one that most send).
const PROXY_HEADERS: [HeaderName; 3] = [FORWARDED, VIA, HeaderName::from_static("x-forwarded-for")];

/// Some clients pad `Basic` credentials, and some don't.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The key of a request, if it is accepted; the database is not asked. Notes its use at `now`.
pub(crate) fn authenticate(
    keys: &KeyRing,
    headers: &HeaderMap,
    now: DateTime<Utc>,
) -> Result<Arc<Key>, Rejection> {
    let text = presented_key(headers).ok_or(Rejection::KeyMissing)?;
    let key = keys.find(&text, now).ok_or(Rejection::KeyUnknown)?;
    // Behind a proxy, a listener on loopback is reached from elsewhere.
    if key.is_published() && came_through_a_proxy(headers) { Err(Rejection::KeyUnknown) } else { Ok(key) }
}

/// The key of a request that posts a call: it may, and its rate allows one more.
pub(crate) fn admit_post(
    keys: &KeyRing,
    headers: &HeaderMap,
    now: DateTime<Utc>,
) -> Result<Arc<Key>, Rejection> {
    let key = authenticate(keys, headers, now)?;
    match key.role() {
        Role::Provider => key.admit_post().map_err(Rejection::TooMany)?,
        Role::Analyst => return Err(Rejection::Forbidden),
    }
    Ok(key)
}

fn came_through_a_proxy(headers: &HeaderMap) -> bool {
    PROXY_HEADERS.iter().any(|name| headers.contains_key(name))
}

/// The key in `X-API-Key`, or else in `Authorization`; `None` when there is none or it is empty.
fn presented_key(headers: &HeaderMap) -> Option<Cow<'_, [u8]>> {
    let api_key = headers.get(API_KEY).map(|value| value.as_bytes().trim_ascii());
    let key = match api_key {
        Some(key) if !key.is_empty() => Cow::Borrowed(key),
        _ => authorization_key(headers.get(AUTHORIZATION)?.as_bytes())?,
    };
    (!key.is_empty()).then_some(key)
}

/// The token of `Authorization: Bearer TOKEN`, and of no other scheme.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = split_scheme(headers.get(AUTHORIZATION)?.as_bytes());
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then_some(token)
}

/// `Bearer K`, `Token K`, `ApiKey K`, `Basic`, or the bare `K`.
fn authorization_key(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (scheme, rest) = split_scheme(value);
    let is = |name: &str| scheme.eq_ignore_ascii_case(name.as_bytes());
    if is("bearer") || is("token") || is("apikey") {
        Some(Cow::Borrowed(rest))
    } else if is("basic") {
        basic_key(rest)
    } else {
        Some(Cow::Borrowed(value.trim_ascii()))
    }
}

/// The text before and after the first white space.
fn split_scheme(value: &[u8]) -> (&[u8], &[u8]) {
    let value = value.trim_ascii();
    let end = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
    let (scheme, rest) = value.split_at_checked(end).unwrap_or((value, &[]));
    (scheme, rest.trim_ascii())
}

/// The password of `Basic` credentials, or else the user name (RFC 7617). Credentials that are not Base64 count as an
/// unknown key rather than as none.
fn basic_key(credentials: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Ok(decoded) = BASE64.decode(credentials) else {
        return Some(Cow::Borrowed(credentials));
    };
    let mut parts = decoded.splitn(2, |byte| *byte == b':');
    let user = parts.next()?;
    let key = parts.next().filter(|password| !password.is_empty()).unwrap_or(user);
    Some(Cow::Owned(key.to_vec()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn key(headers: &[(&'static str, &str)]) -> Option<String> {
        let map: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        presented_key(&map).map(|key| String::from_utf8(key.into_owned()).unwrap())
    }

    fn authorization(value: &str) -> Option<String> {
        key(&[("authorization", value)])
    }

    #[test]
    fn the_api_key_header_wins_unless_it_is_empty() {
        assert_eq!(key(&[("x-api-key", "a"), ("authorization", "Bearer b")]).as_deref(), Some("a"));
        assert_eq!(key(&[("x-api-key", " a ")]).as_deref(), Some("a"));
        assert_eq!(key(&[("x-api-key", ""), ("authorization", "Bearer b")]).as_deref(), Some("b"));
        assert_eq!(key(&[("x-api-key", " "), ("authorization", "b")]).as_deref(), Some("b"));
        assert_eq!(key(&[]), None);
        assert_eq!(key(&[("x-api-key", "")]), None);
    }

    #[test]
    fn authorization_takes_schemes_in_any_case_and_the_bare_key() {
        for value in ["Bearer k", "bearer k", "BEARER  k ", "Token k", "ApiKey k", "apikey\tk", "k", " k "] {
            assert_eq!(authorization(value).as_deref(), Some("k"), "{value}");
        }
        for value in ["", " ", "Bearer", "Bearer ", "token", "ApiKey ", "Basic", "Basic Og=="] {
            assert_eq!(authorization(value), None, "{value}");
        }
        assert_eq!(authorization("Digest k").as_deref(), Some("Digest k"));
    }

    #[test]
    fn basic_takes_the_password_or_else_the_user_name() {
        for (value, expected) in [
            ("Basic dXNlcjprZXk=", "key"),  // user:key
            ("basic dXNlcjprZXk", "key"),   // without padding
            ("Basic a2V5Og==", "key"),      // key:
            ("Basic a2V5", "key"),          // key
            ("Basic OmtleQ==", "key"),      // :key
            ("Basic dXNlcjprOmV5", "k:ey"), // user:k:ey
            ("Basic *not base64*", "*not base64*"),
        ] {
            assert_eq!(authorization(value).as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn only_a_bearer_is_an_admin_token() {
        let bearer = |value| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
            bearer_token(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(bearer("bearer t"), Some(b"t".to_vec()));
        for value in ["t", "Basic t", "Bearer", ""] {
            assert_eq!(bearer(value), None, "{value}");
        }
    }
}
