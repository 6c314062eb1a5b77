//! The broker away: cut off without a word.

use harness::{Network, eventually};

use crate::cluster::{Cluster, PATIENCE};

/// Calls that must be taken while the broker is away.
const TAKEN: usize = 50;

/// Goal: a broker whose host vanishes (no FIN, no RST) changes no answer, and gets every event in the end, though the
/// connections to it can't tell that they are dead.
#[tokio::test]
async fn a_broker_that_vanishes_without_a_word_changes_no_answer_and_gets_every_event() {
    let cluster = Cluster::start().await;
    let traffic = cluster.traffic();
    crate::chance::Chance::new("broker vanished").moment(&cluster.provider).await;
    let before = cluster.provider.attempts().len();
    cluster.broker_network.set(Network::Cut);
    cluster.broker_network.strand();
    eventually(PATIENCE, "calls are taken meanwhile", async || {
        cluster.provider.attempts().len() > before + TAKEN
    })
    .await;
    for attempt in cluster.provider.attempts().into_iter().skip(before) {
        assert_eq!(attempt.status, Some(201), "{attempt:?}");
    }
    cluster.broker_network.set(Network::Open);
    traffic.stop().await;
    cluster.finish("broker vanished").await;
}
