//! A hundred real recordings, and the account of what became of each.

use std::collections::HashSet;
use std::time::Duration;

use harness::{Acknowledged, Answer, Origin, Provider, Sound, obtained, sounds};
use serde_json::Value;

/// How many recordings are posted.
pub(crate) const RECORDINGS: usize = 100;

/// Long enough for a loaded machine; reached only by a failing test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Posts that a provider has under way at once.
const AT_ONCE: usize = 16;

/// An origin with real recordings, and a call for each.
pub(crate) struct Recorded {
    pub(crate) origin: Origin,
    pub(crate) sounds: Vec<Sound>,
}

impl Recorded {
    pub(crate) async fn serve() -> Self {
        let origin = Origin::start().await;
        let sounds = sounds(RECORDINGS);
        for (number, sound) in sounds.iter().enumerate() {
            origin.serve(&path(number), Answer::wav(sound.bytes.clone()));
        }
        Self { origin, sounds }
    }

    /// A call for each recording.
    pub(crate) fn calls(&self, provider: &Provider) -> Vec<Value> {
        (0..self.sounds.len()).map(|number| provider.call(&self.origin.url(&path(number)))).collect()
    }

    /// Posts all calls, each until it is acknowledged.
    pub(crate) async fn deliver(&self, provider: &Provider) -> Vec<Acknowledged> {
        let calls = self.calls(provider);
        let acknowledged = provider.deliver(&calls, AT_ONCE, PATIENCE).await;
        let ids: HashSet<i64> = acknowledged.iter().map(|call| call.id).collect();
        assert_eq!(ids.len(), RECORDINGS, "every call has an id of its own");
        acknowledged
    }

    /// Waits until every recording is settled, and asserts that each was kept as it is.
    pub(crate) async fn assert_all_stored(&self, url: &str, key: &str, acknowledged: &[Acknowledged]) {
        for (sound, call) in self.sounds.iter().zip(acknowledged) {
            let data = settled(url, key, call.id).await;
            let recording = &data["recording"];
            assert_eq!(recording["status"], "stored", "{}: {data}", sound.path.display());
            assert_eq!(recording["sha256"], sound.sha256, "{}", sound.path.display());
            let duration = recording["duration_seconds"].as_f64().unwrap();
            assert!((duration - sound.duration_seconds).abs() < 0.02, "{}: {duration}", sound.path.display());
            assert_eq!(data["analysis"]["status"], "requested");
            let kept =
                url::Url::parse(recording["location"].as_str().unwrap()).unwrap().to_file_path().unwrap();
            assert_eq!(std::fs::read(kept).unwrap(), sound.bytes, "{}", sound.path.display());
        }
    }
}

fn path(number: usize) -> String {
    format!("/{number}.wav")
}

/// The call, once its recording is no longer pending.
pub(crate) async fn settled(url: &str, key: &str, id: i64) -> Value {
    settled_as_asked_by(&harness::http_client(), url, key, id).await
}

/// As [`settled`], with a client that is there already: thousands of them take long to make.
pub(crate) async fn settled_as_asked_by(client: &reqwest::Client, url: &str, key: &str, id: i64) -> Value {
    obtained(PATIENCE, "the recording is settled", async || {
        let answer = client.get(format!("{url}/calls/{id}")).header("X-API-Key", key).send().await.ok()?;
        let data = serde_json::from_str::<Value>(&answer.text().await.ok()?).ok()?["data"].clone();
        (data["recording"]["status"] != "pending").then_some(data)
    })
    .await
}
