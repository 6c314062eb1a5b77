//! The database away: killed in the middle of commits, cut off without a word, out of connections, failed over.

use std::time::Duration;

use harness::{Database, Fsync, Network, Postgres, RabbitMq};
use tokio::time::Instant;

use crate::chance::Chance;
use crate::cluster::{Cluster, LANES, postgres};
use crate::outage::{assert_recovers, assert_refused};
use crate::report::say;

/// Posts that must be answered while the database is away: each lane's, twice.
const REFUSED: usize = 2 * LANES;
/// A restart that is over so soon is waited out: the gateway waits three seconds for a connection.
const WAITED_OUT: Duration = Duration::from_secs(2);

/// Goal: a database whose host vanishes (no FIN, no RST; what was connected hangs for ever) is answered 500 in time,
/// and found again by gateway, relay and worker, whose connections can't tell that they are dead.
#[tokio::test]
async fn a_database_that_vanishes_without_a_word_is_found_again() {
    let cluster = Cluster::start().await;
    let traffic = cluster.traffic();
    Chance::new("database vanished").moment(&cluster.provider).await;
    cluster.database_network.set(Network::Cut);
    cluster.database_network.strand();
    assert_refused(&cluster.provider, REFUSED).await;
    cluster.database_network.set(Network::Open);
    assert_recovers(&cluster.provider).await;
    traffic.stop().await;
    cluster.finish("database vanished").await;
}

/// Goal: a crash of the database, most likely in the middle of a commit, loses nothing that was answered 201.
#[tokio::test]
async fn a_database_killed_in_the_middle_of_commits_keeps_what_was_acknowledged() {
    let postgres = Postgres::start(Fsync::On).await;
    let broker = RabbitMq::shared().await.vhost().await;
    let cluster = Cluster::on(&postgres.database().await, &broker).await;
    let mut chance = Chance::new("database killed");
    let traffic = cluster.traffic();
    for _ in 0..2 {
        chance.moment(&cluster.provider).await;
        postgres.kill().await;
        assert_refused(&cluster.provider, LANES).await;
        postgres.restart().await;
        assert_recovers(&cluster.provider).await;
    }
    traffic.stop().await;
    cluster.finish("database killed").await;
}

/// Goal: an orderly restart, which disconnects everybody, is over with the restart; one that is soon over is noticed by
/// nobody.
#[tokio::test]
async fn a_database_that_is_restarted_loses_nothing() {
    let postgres = Postgres::start(Fsync::On).await;
    let broker = RabbitMq::shared().await.vhost().await;
    let cluster = Cluster::on(&postgres.database().await, &broker).await;
    let traffic = cluster.traffic();
    let mut chance = Chance::new("database restarted");
    chance.moment(&cluster.provider).await;
    let began = Instant::now();
    postgres.restart().await;
    let took = began.elapsed();
    chance.moment(&cluster.provider).await;
    traffic.stop().await;
    let refused = cluster.provider.attempts().iter().filter(|attempt| attempt.status != Some(201)).count();
    say(&format!("database restarted: {refused} posts were refused in a restart of {took:.1?}"));
    assert!(refused == 0 || took > WAITED_OUT, "{refused} posts were refused in a restart of {took:?}");
    cluster.finish("database restarted").await;
}

/// Goal: there are no connections to be had, and then there are. Method: PostgreSQL counts them by role too.
#[tokio::test]
async fn a_database_out_of_connections_is_answered_500_until_there_are_some() {
    let postgres = postgres().await;
    let superuser_url = postgres.database().await;
    let superuser = Database::new(&superuser_url);
    superuser.execute("create role few login").await;
    superuser.execute("grant create on schema public to few").await;
    let broker = RabbitMq::shared().await.vhost().await;
    let cluster = Cluster::on(&superuser_url.replace("postgres@", "few@"), &broker).await;
    let traffic = cluster.traffic();
    Chance::new("out of connections").moment(&cluster.provider).await;

    superuser.execute("alter role few connection limit 0").await;
    superuser.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'few'").await;
    assert_refused(&cluster.provider, REFUSED).await;
    superuser.execute("alter role few connection limit -1").await;
    assert_recovers(&cluster.provider).await;
    traffic.stop().await;
    cluster.finish("out of connections").await;
}

/// Goal: with a synchronous standby, what was answered 201 survives the loss of the first server, disk and all.
#[tokio::test]
async fn a_fail_over_to_a_synchronous_standby_loses_nothing() {
    let first = Postgres::start(Fsync::On).await;
    let standby = first.standby("standby").await;
    first.set("synchronous_standby_names", "standby").await;
    let database_url = first.database().await;
    let name = database_url.rsplit('/').next().unwrap().to_owned();
    let broker = RabbitMq::shared().await.vhost().await;
    let mut cluster = Cluster::on(&database_url, &broker).await;
    let traffic = cluster.traffic();
    let mut chance = Chance::new("fail-over");
    chance.moment(&cluster.provider).await;

    first.kill().await;
    assert_refused(&cluster.provider, LANES).await;
    standby.promote().await;
    cluster.move_database(&standby.url(&name));
    assert_recovers(&cluster.provider).await;
    chance.moment(&cluster.provider).await;
    traffic.stop().await;
    cluster.finish("fail-over").await;
}
