//! Orderly ends under traffic: SIGTERM in a burst, a rolling restart; and two relays side by side.

use harness::{Network, Traffic};

use crate::chance::Chance;
use crate::cluster::{Cluster, LANES, PACE};
use crate::embedded::Embedded;

#[tokio::test]
async fn up_that_is_told_to_stop_in_a_burst_finishes_what_it_accepted() {
    let mut chance = Chance::new("SIGTERM, up");
    let mut embedded = Embedded::start().await;
    let traffic = embedded.traffic();
    for _ in 0..2 {
        chance.moment(&embedded.provider).await;
        embedded.stop().await;
        embedded.restart().await;
    }
    chance.moment(&embedded.provider).await;
    traffic.stop().await;
    embedded.finish("SIGTERM, up").await;
}

#[tokio::test]
async fn gateway_and_worker_that_are_told_to_stop_in_a_burst_finish_what_they_accepted() {
    let mut chance = Chance::new("SIGTERM, gateway and worker");
    let mut cluster = Cluster::start().await;
    let traffic = cluster.traffic();
    for _ in 0..2 {
        chance.moment(&cluster.provider).await;
        cluster.stop_gateway().await;
        cluster.start_gateway().await;
        chance.moment(&cluster.provider).await;
        cluster.worker.take().unwrap().stop().await.assert_code(0);
        cluster.start_worker().await;
    }
    chance.moment(&cluster.provider).await;
    traffic.stop().await;
    cluster.finish("SIGTERM, gateway and worker").await;
}

/// Goal: gateways behind one address are replaced one after the other, and every post is answered, those on connections
/// that are kept alive too. Method: new connections go to the next gateway before the old one is told to stop, as a
/// load balancer does it.
#[tokio::test]
async fn a_rolling_restart_of_gateways_behind_one_address_costs_no_post() {
    let mut chance = Chance::new("rolling restart");
    let mut cluster = Cluster::start().await;
    let traffic = cluster.traffic();
    for _ in 0..3 {
        chance.moment(&cluster.provider).await;
        let old = cluster.gateway.take().unwrap();
        cluster.start_gateway().await;
        old.stop().await.assert_code(0);
    }
    chance.moment(&cluster.provider).await;
    traffic.stop().await;
    let attempts = cluster.provider.attempts();
    for attempt in attempts {
        assert_eq!(attempt.status, Some(201), "{attempt:?}");
    }
    cluster.finish("rolling restart").await;
}

/// Goal: two relays share an outbox, with a backlog, and one of them dies in the middle.
#[tokio::test]
async fn two_relays_on_one_outbox_publish_everything_though_one_is_killed() {
    let mut chance = Chance::new("two relays");
    let mut cluster = Cluster::start().await;
    let mut second = cluster.another_gateway().await;
    let provider = cluster.ledger.provider(&second.public().await, &cluster.key);
    let calls = cluster.ledger.calls(&provider);
    let traffic = [cluster.traffic(), Traffic::start(&provider, (LANES, PACE), calls)];
    cluster.broker_network.set(Network::Refusing);
    cluster.broker_network.reset();
    chance.moment(&cluster.provider).await;
    chance.moment(&provider).await;
    cluster.broker_network.set(Network::Open);
    chance.moment(&cluster.provider).await;
    second.kill();
    chance.moment(&cluster.provider).await;
    for traffic in traffic {
        traffic.stop().await;
    }
    cluster.finish("two relays").await;
}
