//! Chance that can be repeated: the seed is printed, and `CALLVINE_CHAOS_SEED` gives it back.

use std::ops::Range;

use fastrand::Rng;
use harness::{PATIENCE, Provider, eventually};

use crate::minutes;
use crate::report::say;

/// The random decisions of one test.
pub(crate) struct Chance(Rng);

impl Chance {
    /// The seed of `CALLVINE_CHAOS_SEED`, else a random one.
    pub(crate) fn new(test: &str) -> Self {
        let seed = match std::env::var("CALLVINE_CHAOS_SEED") {
            Ok(seed) => seed.parse().expect("CALLVINE_CHAOS_SEED is a number"),
            Err(_) => fastrand::u64(..),
        };
        minutes::count_from_now();
        say(&format!("{test}: CALLVINE_CHAOS_SEED={seed}"));
        Self(Rng::with_seed(seed))
    }

    pub(crate) fn number(&mut self, range: Range<usize>) -> usize {
        self.0.usize(range)
    }

    /// A random moment under traffic: after some more calls are acknowledged.
    pub(crate) async fn moment(&mut self, provider: &Provider) {
        let target = provider.acknowledged().len() + self.number(5..60);
        eventually(PATIENCE, "calls are acknowledged", async || provider.acknowledged().len() >= target)
            .await;
    }
}
