//! A telephony provider: posts calls, in bursts, repeats them as providers do, and keeps a list of the acknowledged
//! ones.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use crate::http::http_client;

/// The published key of the client `test`, which `up` takes on loopback.
pub const TEST_KEY: &str = "test_key_123";

/// The number that every call of a [`Provider`] goes to.
pub(crate) const TO_PHONE: &str = "8006000009";

/// How the name of everybody who handles a call of a [`Provider`] begins.
pub(crate) const HANDLED_BY: &str = "Agent Sealand";

/// Pause before a call is posted again: providers wait longer, but tests need not.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A call that was answered 201: a promise that the tests hold the program to.
#[derive(Clone, Debug, PartialEq)]
pub struct Acknowledged {
    /// The id that the answer gave it.
    pub id: i64,
    /// The body that was sent.
    pub sent: Value,
    /// The whole answer.
    pub answer: Value,
    /// Whether it was the answer of an earlier attempt (`Idempotent-Replayed`).
    pub replayed: bool,
}

/// The outcome of one post.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// 201.
    Acknowledged(Acknowledged),
    /// Another status, with the body as text.
    Refused {
        /// The status.
        status: u16,
        /// The body.
        body: String,
    },
    /// No answer: it may have been stored, or not.
    Unanswered,
}

impl Outcome {
    /// Whether a provider would send the same call again: after an overload, a failure, or silence.
    fn is_worth_another_try(&self) -> bool {
        match self {
            Self::Acknowledged(_) => false,
            Self::Refused { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Unanswered => true,
        }
    }
}

/// One post, as the provider saw it.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// When it was sent.
    pub at: Instant,
    /// How long until the answer, or until there was to be none.
    pub took: Duration,
    /// The answer's status; `None`: there was no answer.
    pub status: Option<u16>,
    /// Whether the answer had a `Retry-After`.
    pub has_retry_after: bool,
}

/// A provider with one key, posting to one gateway.
pub struct Provider {
    client: reqwest::Client,
    webhook: String,
    key: String,
    acknowledged: Mutex<Vec<Acknowledged>>,
    attempts: Mutex<Vec<Attempt>>,
}

impl Provider {
    /// A provider that posts to the public listener at `address` (`http://127.0.0.1:8080`).
    ///
    /// # Panics
    /// When no HTTP client can be built.
    pub fn new(address: &str, key: &str) -> Self {
        Self {
            client: http_client(),
            webhook: format!("{address}/webhook.php"),
            key: key.to_owned(),
            acknowledged: Mutex::default(),
            attempts: Mutex::default(),
        }
    }

    /// A valid call unlike every other call of this test process, with its recording at this address.
    pub fn call(&self, recording_url: &str) -> Value {
        static CALLS: AtomicU32 = AtomicU32::new(0);
        let number = CALLS.fetch_add(1, Ordering::Relaxed);
        json!({
            "from_phone": format!("908727{number:06}"),
            "to_phone": TO_PHONE,
            "handled_by": format!("{HANDLED_BY} {number}"),
            "department": "Customer Service",
            "start_time": "2024-01-15 09:00:00",
            "end_time": "2024-01-15 09:15:00",
            "recording_url": recording_url,
        })
    }

    /// Posts one call, once.
    ///
    /// # Panics
    /// When a 201 is not the published answer.
    pub async fn post(&self, call: &Value) -> Outcome {
        self.send(call, None).await
    }

    /// Posts one call, once, with an `Idempotency-Key` of its own.
    ///
    /// # Panics
    /// When a 201 is not the published answer.
    pub async fn post_keyed(&self, call: &Value) -> Outcome {
        self.send(call, Some(&idempotency_key(call))).await
    }

    /// Posts each call once, at most `at_once` at a time; the outcomes are in the order of the calls.
    ///
    /// # Panics
    /// When a 201 is not the published answer.
    pub async fn burst(&self, calls: &[Value], at_once: usize) -> Vec<Outcome> {
        stream::iter(calls).map(|call| self.post(call)).buffered(at_once).collect().await
    }

    /// Posts each call, at most `at_once` at a time, again and again until it is acknowledged, with one
    /// `Idempotency-Key` a call; what was acknowledged is in the order of the calls.
    ///
    /// # Panics
    /// When a call is refused for good, or not acknowledged before the deadline.
    pub async fn deliver(&self, calls: &[Value], at_once: usize, deadline: Duration) -> Vec<Acknowledged> {
        let ends_at = Instant::now() + deadline;
        stream::iter(calls).map(|call| self.insist(call, ends_at)).buffered(at_once).collect().await
    }

    /// The calls that were acknowledged so far, in no particular order.
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        self.acknowledged.lock().clone()
    }

    /// Every post so far, in the order of their ends.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.attempts.lock().clone()
    }

    /// Posts a call again and again until it is acknowledged.
    pub(crate) async fn insist(&self, call: &Value, ends_at: Instant) -> Acknowledged {
        let mut last = Outcome::Unanswered;
        loop {
            match timeout_at(ends_at, self.post_keyed(call)).await {
                Ok(Outcome::Acknowledged(acknowledged)) => return acknowledged,
                Ok(outcome) if outcome.is_worth_another_try() => last = outcome,
                Ok(outcome) => panic!("refused for good: {outcome:?}"),
                Err(_) => panic!("a call was not acknowledged before the deadline; last: {last:?}"),
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    async fn send(&self, call: &Value, idempotency_key: Option<&str>) -> Outcome {
        let mut request = self
            .client
            .post(&self.webhook)
            .header("X-API-Key", &self.key)
            .header("Content-Type", "application/json")
            .body(call.to_string());
        if let Some(key) = idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        let at = Instant::now();
        let answer = answer_to(request).await;
        self.attempts.lock().push(Attempt {
            at,
            took: at.elapsed(),
            status: answer.as_ref().map(|answer| answer.status),
            has_retry_after: answer.as_ref().is_some_and(|answer| answer.has_retry_after),
        });
        let Some(RawAnswer { status, replayed, body, .. }) = answer else { return Outcome::Unanswered };
        if status != 201 {
            return Outcome::Refused { status, body };
        }
        let answer: Value =
            serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error} in a 201: {body}"));
        let id =
            answer.pointer("/data/id").and_then(Value::as_i64).unwrap_or_else(|| panic!("no id: {body}"));
        let acknowledged = Acknowledged { id, sent: call.clone(), answer, replayed };
        self.acknowledged.lock().push(acknowledged.clone());
        Outcome::Acknowledged(acknowledged)
    }
}

/// Unlike every other call's, as the caller's number is.
fn idempotency_key(call: &Value) -> String {
    format!("provider-{}", call.get("from_phone").and_then(Value::as_str).unwrap_or_default())
}

struct RawAnswer {
    status: u16,
    has_retry_after: bool,
    replayed: bool,
    body: String,
}

/// `None`: no answer, or not the whole of one.
async fn answer_to(request: reqwest::RequestBuilder) -> Option<RawAnswer> {
    let response = request.send().await.ok()?;
    let status = response.status().as_u16();
    let has = |name: &str| response.headers().contains_key(name);
    let (has_retry_after, replayed) = (has("Retry-After"), has("Idempotent-Replayed"));
    Some(RawAnswer { status, has_retry_after, replayed, body: response.text().await.ok()? })
}
