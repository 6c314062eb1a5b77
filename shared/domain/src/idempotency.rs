//! When two posts are the same call: by the `Idempotency-Key` that their sender gave them, or by their fields. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::api_key::Environment;
use crate::call::NewCall;

/// Most characters of an `Idempotency-Key`.
const KEY_MAX_CHARS: usize = 255;

/// How long an `Idempotency-Key` is kept.
const KEY_LASTS: Duration = Duration::from_secs(24 * 60 * 60);

/// A SHA-256.
pub type Sha256Bytes = [u8; 32];

/// The value of an `Idempotency-Key` header: 1 to 255 visible ASCII characters, without white space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdempotencyKey<'a>(&'a [u8]);

impl<'a> IdempotencyKey<'a> {
    /// The key with these characters; `None` when they can't be one.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let is_key = (1..=KEY_MAX_CHARS).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
        is_key.then_some(Self(value))
    }
}

/// The mark of a post: another one with the same mark, while the first one lasts, is the same call. Only hashes are kept,
/// since the key and the fields may name people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Tells it from every other mark, those of other clients too.
    pub mark: Sha256Bytes,
    /// SHA-256 of the request's body, where two posts with one mark may still differ; `None`: they can't.
    pub body_sha256: Option<Sha256Bytes>,
    /// When the post was received.
    pub received_at: DateTime<Utc>,
    /// From when on a post with this mark is another call.
    pub expires_at: DateTime<Utc>,
}

impl Mark {
    /// The mark of a post that came with a key: one a client, for 24 hours.
    #[must_use]
    pub fn of_key(client: &str, key: IdempotencyKey<'_>, body: &[u8], received_at: DateTime<Utc>) -> Self {
        let mark = Parts::new("key").text(client).bytes(key.0).hash();
        let body_sha256 = Some(Sha256::digest(body).into());
        Self { mark, body_sha256, received_at, expires_at: later(received_at, KEY_LASTS) }
    }

    /// The mark of a post that is told from others by its fields, for as long as `lasts`. A test system's call is never
    /// taken for a live one.
    #[must_use]
    pub fn of_fields(
        client: &str,
        env: Environment,
        call: &NewCall,
        received_at: DateTime<Utc>,
        lasts: Duration,
    ) -> Self {
        let NewCall { from_phone, to_phone, handled_by, department, start_time, end_time, recording_url } =
            call;
        let mark = Parts::new("fields")
            .text(client)
            .text(env.name())
            .text(from_phone)
            .text(to_phone)
            .text(handled_by)
            // Two parts or one: a department is never taken for what follows it.
            .text(if department.is_some() { "department" } else { "no department" })
            .text(department.as_deref().unwrap_or_default())
            .bytes(&start_time.and_utc().timestamp().to_be_bytes())
            .bytes(&end_time.and_utc().timestamp().to_be_bytes())
            .text(recording_url)
            .hash();
        Self { mark, body_sha256: None, received_at, expires_at: later(received_at, lasts) }
    }
}

/// A hash of several parts, each after its length: no two different lists of parts are hashed alike.
struct Parts(Sha256);

impl Parts {
    fn new(kind: &str) -> Self {
        Self(Sha256::new()).text(kind)
    }

    fn text(self, part: &str) -> Self {
        self.bytes(part.as_bytes())
    }

    fn bytes(mut self, part: &[u8]) -> Self {
        self.0.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(part);
        self
    }

    fn hash(self) -> Sha256Bytes {
        self.0.finalize().into()
    }
}

fn later(at: DateTime<Utc>, lasts: Duration) -> DateTime<Utc> {
    chrono::TimeDelta::from_std(lasts)
        .ok()
        .and_then(|lasts| at.checked_add_signed(lasts))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-24T12:00:00.5Z".parse().unwrap()
    }

    fn call() -> NewCall {
        NewCall {
            from_phone: "9087270291".to_owned(),
            to_phone: "8006000009".to_owned(),
            handled_by: "Agent Smith".to_owned(),
            department: None,
            start_time: "2024-01-15T09:00:00".parse().unwrap(),
            end_time: "2024-01-15T09:15:00".parse().unwrap(),
            recording_url: "https://example.com/call.wav".to_owned(),
        }
    }

    fn of_key(client: &str, key: &str, body: &str) -> Mark {
        Mark::of_key(client, IdempotencyKey::parse(key.as_bytes()).unwrap(), body.as_bytes(), now())
    }

    fn of_fields(client: &str, env: Environment, call: &NewCall) -> Mark {
        Mark::of_fields(client, env, call, now(), Duration::from_secs(60))
    }

    #[test]
    fn a_key_has_1_to_255_visible_characters() {
        let longest = "k".repeat(255);
        for key in ["k", "!~", "\"8e03978e-40d5-43e8-bc93-6894a57f9324\"", &longest] {
            assert!(IdempotencyKey::parse(key.as_bytes()).is_some(), "{key}");
        }
        let too_long = "k".repeat(256);
        for none in ["", " ", "a b", "a\tb", "\u{7f}", "é", &too_long] {
            assert_eq!(IdempotencyKey::parse(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn a_key_is_a_clients_own_and_lasts_a_day() {
        let mark = of_key("a", "k", "{}");
        assert_eq!(mark, of_key("a", "k", "{}"));
        assert_eq!(mark.expires_at - mark.received_at, chrono::TimeDelta::days(1));
        assert_ne!(mark.mark, of_key("b", "k", "{}").mark);
        assert_ne!(mark.mark, of_key("a", "K", "{}").mark);
        assert_ne!(of_key("ab", "c", "{}").mark, of_key("a", "bc", "{}").mark, "each part after its length");
        let other = of_key("a", "k", "{ }");
        assert_eq!(mark.mark, other.mark);
        assert_ne!(mark.body_sha256, other.body_sha256);
    }

    #[test]
    fn each_field_tells_calls_apart() {
        let mark = |call: &NewCall| of_fields("a", Environment::Live, call).mark;
        let changes: [fn(&mut NewCall); 8] = [
            |call| call.from_phone.push('1'),
            |call| call.to_phone.push('1'),
            |call| call.handled_by.push('1'),
            |call| call.department = Some("Sales".to_owned()),
            |call| call.start_time += chrono::TimeDelta::seconds(1),
            |call| call.end_time += chrono::TimeDelta::seconds(1),
            |call| call.recording_url.push('1'),
            |call| {
                call.from_phone = "90872702918".to_owned();
                call.to_phone = "006000009".to_owned();
            },
        ];
        let mut seen = vec![mark(&call())];
        for change in changes {
            let mut changed = call();
            change(&mut changed);
            assert!(!seen.contains(&mark(&changed)), "{changed:?}");
            seen.push(mark(&changed));
        }
        assert_eq!(mark(&call()), mark(&call()));
    }

    #[test]
    fn fields_belong_to_a_client_and_an_environment_and_last_as_long_as_they_are_told_to() {
        let mark = of_fields("a", Environment::Live, &call());
        assert_eq!(mark.expires_at - mark.received_at, chrono::TimeDelta::seconds(60));
        assert_ne!(mark.mark, of_fields("b", Environment::Live, &call()).mark);
        assert_ne!(mark.mark, of_fields("a", Environment::Test, &call()).mark);
        let for_ever = Mark::of_fields("a", Environment::Live, &call(), now(), Duration::MAX);
        assert!(for_ever.expires_at > mark.expires_at);
    }
}
