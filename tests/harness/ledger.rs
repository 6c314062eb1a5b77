//! The ledger of a run: answers to the provider, events at the subscriber, recordings of the origin; and, once
//! everything is over, their comparison with the program's tables.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::callvine::Callvine;
use crate::database::{Database, StoredCall};
use crate::origin::{Answer, Origin};
use crate::provider::{Acknowledged, Provider};
use crate::sounds::{Sound, sounds};
use crate::subscriber::{Received, Subscriber};

/// How many different recordings the origin serves, in turn.
const SOUNDS: usize = 40;
/// Until something more of what was accepted is settled: leases and back-offs, on a busy machine. How long all of it
/// takes depends on how much that is.
const PROGRESS_DEADLINE: Duration = Duration::from_secs(90);
/// More than the rows of the outbox that a recording leaves when it is settled, so that what is left gets less by it.
const STEPS_OF_A_RECORDING: i64 = 4;
/// The fields of a call that come back as they were sent.
const FIELDS: [&str; 7] =
    ["from_phone", "to_phone", "handled_by", "department", "start_time", "end_time", "recording_url"];

/// Everything that outsiders know of a run.
pub struct Ledger {
    recordings: Arc<Recordings>,
    /// `None` with in-process delivery, which has no subscribers of its own.
    subscriber: Option<Subscriber>,
    providers: Vec<Arc<Provider>>,
}

/// Real recordings behind an origin.
struct Recordings {
    origin: Origin,
    sounds: Vec<Sound>,
    next: AtomicUsize,
}

impl Ledger {
    /// A new ledger, with an origin of recordings, and with a subscriber if there is a broker.
    ///
    /// # Panics
    /// When the broker can't be reached.
    pub async fn open(amqp_url: Option<&str>) -> Self {
        let origin = Origin::start().await;
        let sounds = sounds(SOUNDS);
        for (number, sound) in sounds.iter().enumerate() {
            origin.serve(&path(number), Answer::wav(sound.bytes.clone()));
        }
        let subscriber = match amqp_url {
            Some(url) => Some(Subscriber::start(url).await),
            None => None,
        };
        let recordings = Arc::new(Recordings { origin, sounds, next: AtomicUsize::new(0) });
        Self { recordings, subscriber, providers: Vec::new() }
    }

    /// A provider whose posts are in this ledger.
    ///
    /// # Panics
    /// When no HTTP client can be built.
    pub fn provider(&mut self, address: &str, key: &str) -> Arc<Provider> {
        let provider = Arc::new(Provider::new(address, key));
        self.providers.push(Arc::clone(&provider));
        provider
    }

    /// Makes calls, each with one of the recordings.
    pub fn calls(&self, provider: &Arc<Provider>) -> impl Fn() -> Value + Send + Sync + Clone + 'static {
        let (recordings, provider) = (Arc::clone(&self.recordings), Arc::clone(provider));
        move || {
            let number = recordings.next.fetch_add(1, Ordering::Relaxed) % recordings.sounds.len();
            provider.call(&recordings.origin.url(&path(number)))
        }
    }

    /// Everything that was answered 201, by all providers.
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        self.providers.iter().flat_map(|provider| provider.acknowledged()).collect()
    }

    /// Waits until everything is settled, and fails the test unless every 201 was kept: one row with the fields as
    /// sent, `call.created` and what follows from it received with one id each, the recording stored with the bytes
    /// that the origin served, its analysis requested; and unless `callvine audit --deep` (with the settings of
    /// `audit`) agrees.
    ///
    /// # Panics
    /// When anything is amiss; the message names it.
    pub async fn assert_kept(&self, database: &Database, audit: Callvine) -> Reckoning {
        let acknowledged = self.acknowledged();
        assert!(!acknowledged.is_empty(), "nothing was acknowledged: nothing was tested");
        let ended = Instant::now();
        settled(database).await;
        let settled_after = ended.elapsed();
        let stored = database.calls().await;
        let mut ids = HashSet::new();
        let (replayed, first): (Vec<_>, Vec<_>) = acknowledged.iter().partition(|call| call.replayed);
        for call in &first {
            assert!(ids.insert(call.id), "call {} was given out twice", call.id);
        }
        // The first answer of a replayed one may have been lost.
        ids.extend(replayed.iter().map(|call| call.id));
        for call in &acknowledged {
            let row =
                stored.get(&call.id).unwrap_or_else(|| panic!("lost: call {} was answered 201", call.id));
            self.assert_as_sent(call, row);
        }
        let received = self.received_all(&acknowledged).await;
        let finished = audit.args(["--deep", "--stuck-after", "1s", "--json"]).run().await;
        finished.assert_code(0);
        Reckoning {
            acknowledged: ids.len(),
            settled_after,
            unacknowledged_rows: stored.len() - ids.len(),
            events: received.values().map(std::collections::HashMap::len).sum(),
            duplicates: received.values().flat_map(|ids| ids.values()).map(|count| count - 1).sum(),
            fetched_again: self.recordings.requests().saturating_sub(stored.len()),
        }
    }

    fn assert_as_sent(&self, call: &Acknowledged, row: &StoredCall) {
        let sent = |field: &str| call.sent.get(field).and_then(Value::as_str);
        let kept = [
            Some(row.from_phone.as_str()),
            Some(row.to_phone.as_str()),
            Some(row.handled_by.as_str()),
            row.department.as_deref(),
            Some(row.start_time.as_str()),
            Some(row.end_time.as_str()),
            Some(row.recording_url.as_str()),
        ];
        for (field, kept) in FIELDS.into_iter().zip(kept) {
            assert_eq!(kept, sent(field), "{field} of call {}", call.id);
        }
        assert_eq!(row.recording.as_deref(), Some("stored"), "the recording of call {}", call.id);
        assert_eq!(row.analysis.as_deref(), Some("requested"), "the analysis of call {}", call.id);
        let served = self.recordings.sound_at(&row.recording_url);
        assert_eq!(row.sha256.as_ref(), Some(&served.sha256), "the recording of call {} as served", call.id);
    }

    /// Waits until the subscriber has every event of every acknowledged call, each with one id.
    async fn received_all(&self, acknowledged: &[Acknowledged]) -> Received {
        let Some(subscriber) = &self.subscriber else { return Received::default() };
        let expected = ["call.created", "recording.stored", "analysis.requested"];
        let mut missing = Missing::default();
        let mut least = usize::MAX;
        while least > 0 {
            let what = "the subscriber has received every event";
            least = crate::obtained(PROGRESS_DEADLINE, what, async || {
                let received = subscriber.received();
                let events =
                    acknowledged.iter().flat_map(|call| expected.map(|key| (key.to_owned(), call.id)));
                missing.0 = events.filter(|event| !received.contains_key(event)).collect();
                (missing.0.len() < least).then_some(missing.0.len())
            })
            .await;
        }
        let received = subscriber.received();
        for ((key, id), ids) in &received {
            assert_eq!(ids.len(), 1, "{key} of call {id} came with several ids: {ids:?}");
        }
        received
    }
}

/// Events that a subscriber waits for; shown when the wait fails.
#[derive(Default)]
struct Missing(Vec<(String, i64)>);

impl Drop for Missing {
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "Rust's test runner shows it with the failed test")]
            {
                let some: Vec<_> = self.0.iter().take(20).collect();
                eprintln!("{} events were not received: {some:?}", self.0.len());
            }
        }
    }
}

impl Recordings {
    /// How often any of them was asked for.
    fn requests(&self) -> usize {
        (0..self.sounds.len()).map(|number| self.origin.count(&path(number))).sum()
    }

    fn sound_at(&self, url: &str) -> &Sound {
        let mut numbered = self.sounds.iter().enumerate();
        let found = numbered.find(|(number, _)| self.origin.url(&path(*number)) == url);
        found.map(|(_, sound)| sound).unwrap_or_else(|| panic!("{url} is not an address of the origin"))
    }
}

/// Waits until no recording is pending and the outbox is empty.
///
/// # Panics
/// When it takes too long until fewer are pending.
pub async fn settled(database: &Database) {
    let mut least = i64::MAX;
    while least > 0 {
        let what = format!("every recording is settled and the outbox empty; {least} steps are left");
        least = crate::obtained(PROGRESS_DEADLINE, &what, async || {
            let pending = database.count("from recordings where status = 'pending'").await?;
            let left = pending * STEPS_OF_A_RECORDING + database.count("from outbox").await?;
            (left < least).then_some(left)
        })
        .await;
    }
}

/// The result of a run.
#[derive(Clone, Copy, Debug)]
pub struct Reckoning {
    /// Calls that were answered 201; all were kept.
    pub acknowledged: usize,
    /// From the beginning of the reckoning until no recording was pending and the outbox was empty.
    pub settled_after: Duration,
    /// Calls that were stored although their answer was lost.
    pub unacknowledged_rows: usize,
    /// Events that the subscriber received, each counted once.
    pub events: usize,
    /// Events that it received more than once.
    pub duplicates: u32,
    /// Requests to the origin of recordings beyond one a call.
    pub fetched_again: usize,
}

impl fmt::Display for Reckoning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} calls answered 201, all kept, and settled {:.1?} after the last; {} more stored whose answers were lost; \
             {} events, {} received again; {} recordings fetched again",
            self.acknowledged,
            self.settled_after,
            self.unacknowledged_rows,
            self.events,
            self.duplicates,
            self.fetched_again
        )
    }
}

fn path(number: usize) -> String {
    format!("/{number}.wav")
}
