//! The clock set back under a running process, as when an operator or a time server corrects it.

use harness::{Callvine, Clock, Database, new_directory};

use crate::chance::Chance;
use crate::embedded::Embedded;

/// Goal: what was due before is not left alone until that time comes again.
#[tokio::test]
async fn a_clock_that_is_set_back_by_a_day_delays_nothing_by_a_day() {
    let directory = new_directory("up");
    let clock = std::sync::Arc::new(Clock::right());
    let (place, its_clock) = (directory.clone(), std::sync::Arc::clone(&clock));
    let adapt = Box::new(move |command: Callvine| its_clock.on(command.directory(&place)));
    let embedded = Embedded::start_with(Database::embedded(&directory), adapt).await;
    let traffic = embedded.traffic();
    let mut chance = Chance::new("clock set back");
    for offset in ["-1d", "+0", "-2d"] {
        chance.moment(&embedded.provider).await;
        clock.set(offset);
    }
    chance.moment(&embedded.provider).await;
    traffic.stop().await;
    embedded.finish("clock set back").await;
}
