//! Posts with an `Idempotency-Key`, at several gateways and under fault: each call is stored once.

use harness::{Fsync, Outcome, PATIENCE, Postgres, RabbitMq, eventually};

use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::minutes::kills;

/// Posts of one key at once, at each of two gateways.
const AT_ONCE: usize = 25;

/// Goal: however often a provider repeats its posts because a gateway was killed, it ends with one call for each, also
/// where the kill came after the commit and before the answer.
#[tokio::test]
async fn a_provider_with_keys_whose_gateway_is_killed_stores_each_call_once() {
    let mut chance = Chance::new("keyed gateway killed");
    let mut cluster = Cluster::start().await;
    let traffic = cluster.keyed_traffic();
    for _ in 0..kills() {
        chance.moment(&cluster.provider).await;
        cluster.kill_gateway();
        cluster.start_gateway().await;
    }
    chance.moment(&cluster.provider).await;
    traffic.stop().await;
    let reckoning = cluster.finish("keyed gateway killed").await;
    assert_eq!(reckoning.unacknowledged_rows, 0, "calls were stored twice");
}

/// Goal: two gateways that get one key at the same instant store one call, and publish its event once.
#[tokio::test]
async fn one_key_at_two_gateways_at_once_stores_one_call() {
    let mut cluster = Cluster::start().await;
    let mut second = cluster.another_gateway().await;
    let other = cluster.ledger.provider(&second.public().await, &cluster.key);
    let next_call = cluster.ledger.calls(&cluster.provider);
    let rounds = 10;
    for _ in 0..rounds {
        let calls = vec![next_call(); AT_ONCE];
        let (here, there) = tokio::join!(
            cluster.provider.deliver(&calls, AT_ONCE, PATIENCE),
            other.deliver(&calls, AT_ONCE, PATIENCE),
        );
        let answers: Vec<_> = here.iter().chain(&there).collect();
        assert!(answers.iter().all(|answer| answer.answer == answers[0].answer), "{answers:?}");
        assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    }
    for provider in [&cluster.provider, &other] {
        let refused = provider.attempts().iter().filter(|attempt| attempt.status != Some(201)).count();
        assert_eq!(refused, 0, "no post waits long, or fails");
    }
    second.stop().await.assert_code(0);
    let reckoning = cluster.finish("one key at two gateways").await;
    assert_eq!((reckoning.acknowledged, reckoning.unacknowledged_rows), (rounds, 0));
}

/// Goal: when a gateway is killed after its commit and before its answer, the post that follows gets the answer of the call
/// that is there. Method: no standby confirms, so that the commit is on disk and its gateway waits for it.
#[tokio::test]
async fn a_call_whose_answer_was_lost_with_its_gateway_is_replayed_by_the_next_one() {
    let postgres = Postgres::start(Fsync::On).await;
    let broker = RabbitMq::shared().await.vhost().await;
    let mut cluster = Cluster::on(&postgres.database().await, &broker).await;
    let next_call = cluster.ledger.calls(&cluster.provider);
    // With this one the gateway reserves its ids, which takes a commit too.
    cluster.provider.deliver(&[next_call()], 1, PATIENCE).await;
    let call = next_call();

    postgres.set("synchronous_standby_names", "nobody").await;
    let provider = cluster.provider.clone();
    let posted = call.clone();
    let posting = tokio::spawn(async move { provider.post_keyed(&posted).await });
    eventually(PATIENCE, "the commit of the call waits for the standby", async || {
        let waiting = "from pg_stat_activity where datname = current_database() and wait_event = 'SyncRep'
                       and query like '%idempotency_marks%'";
        cluster.database.count(waiting).await > Some(0)
    })
    .await;
    cluster.kill_gateway();
    assert_eq!(posting.await.unwrap(), Outcome::Unanswered);
    postgres.set("synchronous_standby_names", "").await;

    cluster.start_gateway().await;
    let answered = cluster.provider.deliver(&[call], 1, PATIENCE).await;
    assert!(answered[0].replayed, "{answered:?}");
    let reckoning = cluster.finish("answer lost with its gateway").await;
    assert_eq!((reckoning.acknowledged, reckoning.unacknowledged_rows), (2, 0));
}
