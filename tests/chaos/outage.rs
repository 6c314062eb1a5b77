//! What providers see while something is away, and how soon it is over.

use std::time::Duration;

use harness::{Provider, eventually};
use tokio::time::Instant;

/// A database that is out of reach is answered within this time.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// What was away is used again this long after its return.
const RECOVERED_WITHIN: Duration = Duration::from_secs(10);

/// A time during which the database is away.
pub(crate) struct Outage {
    began: Instant,
    posts_before: usize,
}

impl Outage {
    pub(crate) fn begin(provider: &Provider) -> Self {
        Self { began: Instant::now(), posts_before: provider.attempts().len() }
    }

    /// Lets posts come and go until `count` that began in the outage are answered.
    pub(crate) async fn until_answered(&self, provider: &Provider, count: usize) {
        eventually(crate::cluster::PATIENCE, "posts are answered during the outage", async || {
            self.during(provider).len() >= count
        })
        .await;
    }

    /// The outage is over: every post that began and ended in it was answered 500 in time and may be tried again, and
    /// calls are taken again soon.
    pub(crate) async fn end(self, provider: &Provider) {
        let ended = Instant::now();
        let refused = self.during(provider);
        assert!(!refused.is_empty(), "nothing was posted while the database was away");
        for attempt in refused.iter().filter(|attempt| attempt.at + attempt.took < ended) {
            assert_eq!(attempt.status, Some(500), "{attempt:?}");
            assert!(attempt.took < ANSWERED_WITHIN, "{attempt:?}");
            assert!(attempt.has_retry_after, "{attempt:?}");
        }
        let acknowledged = provider.acknowledged().len();
        eventually(RECOVERED_WITHIN, "calls are taken again", async || {
            provider.acknowledged().len() > acknowledged
        })
        .await;
        println!("  {} posts answered 500; 201 again after {:?}", refused.len(), ended.elapsed());
    }

    /// Posts that began in the outage, with a moment for it to be one.
    fn during(&self, provider: &Provider) -> Vec<harness::Attempt> {
        let attempts = provider.attempts();
        let since = attempts.into_iter().skip(self.posts_before);
        since.filter(|attempt| attempt.at > self.began).collect()
    }
}
