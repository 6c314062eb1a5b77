//! Fault after fault, drawn at random, under traffic that never stops for them; a reckoning after every few, and then
//! anew: what a reckoning costs grows with the calls.

use std::time::Duration;

use harness::{Fsync, Network, Postgres, RabbitMq};
use tokio::time::sleep;

use crate::broker::broker;
use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::minutes;
use crate::report::{Engine, Recoveries};

/// Faults from one reckoning to the next.
pub(crate) const FAULTS: usize = 4;
/// Faults from one reckoning to the next in the long version.
pub(crate) const FAULTS_LONG: usize = 12;
/// A network is cut for up to so long: shorter and longer than anything takes to notice it.
const LONGEST_CUT_MS: usize = 15_000;

/// A fault of the storm.
#[derive(Clone, Copy, Debug)]
enum Fault {
    GatewayKilled,
    GatewayStopped,
    WorkerKilled,
    WorkerStopped,
    DatabaseKilled,
    DatabaseRestarted,
    DatabaseVanishes,
    DatabaseConnectionsReset,
    BrokerKilled,
    BrokerRestarted,
    BrokerVanishes,
    BrokerBlocks,
    BrokerConnectionsReset,
}

const ALL: [Fault; 13] = [
    Fault::GatewayKilled,
    Fault::GatewayStopped,
    Fault::WorkerKilled,
    Fault::WorkerStopped,
    Fault::DatabaseKilled,
    Fault::DatabaseRestarted,
    Fault::DatabaseVanishes,
    Fault::DatabaseConnectionsReset,
    Fault::BrokerKilled,
    Fault::BrokerRestarted,
    Fault::BrokerVanishes,
    Fault::BrokerBlocks,
    Fault::BrokerConnectionsReset,
];

#[tokio::test]
async fn fault_after_fault_loses_nothing() {
    let mut chance = Chance::new("storm");
    let postgres = Postgres::start(Fsync::On).await;
    let broker = broker().await;
    let mut recoveries = Recoveries::new(Engine::Distributed, "storm");
    loop {
        let mut cluster = Cluster::on(&postgres.database().await, &broker.vhost().await).await;
        let vhost = cluster.vhost().to_owned();
        let traffic = cluster.traffic();
        for number in 0..FAULTS_LONG {
            if number >= FAULTS && minutes::are_over() {
                break;
            }
            chance.moment(&cluster.provider).await;
            let fault = *ALL.get(chance.number(0..ALL.len())).unwrap();
            println!("storm: {fault:?}");
            strike(fault, &mut cluster, (&postgres, &broker), &mut chance).await;
            recoveries.note(&format!("{fault:?}"), &cluster.provider).await;
        }
        chance.moment(&cluster.provider).await;
        traffic.stop().await;
        cluster.finish(&format!("storm, after {} faults", recoveries.count())).await;
        broker.ctl(&["delete_vhost", &vhost]).await;
        if minutes::are_over() {
            return recoveries.say();
        }
    }
}

/// Does harm, and undoes it.
async fn strike(
    fault: Fault,
    cluster: &mut Cluster,
    (postgres, broker): (&Postgres, &RabbitMq),
    chance: &mut Chance,
) {
    match fault {
        Fault::GatewayKilled => cluster.kill_gateway(),
        Fault::GatewayStopped => cluster.stop_gateway().await,
        Fault::WorkerKilled => cluster.kill_worker(),
        Fault::WorkerStopped => cluster.worker.take().unwrap().stop().await.assert_code(0),
        Fault::DatabaseKilled => {
            postgres.kill().await;
            postgres.restart().await;
        }
        Fault::DatabaseRestarted => postgres.restart().await,
        Fault::DatabaseVanishes => {
            cluster.database_network.set(Network::Cut);
            cluster.database_network.strand();
            sleep(cut(chance)).await;
            cluster.database_network.set(Network::Open);
        }
        Fault::DatabaseConnectionsReset => cluster.database_network.reset(),
        Fault::BrokerKilled => {
            broker.kill().await;
            broker.restart().await;
        }
        Fault::BrokerRestarted => broker.restart().await,
        Fault::BrokerVanishes => {
            cluster.broker_network.set(Network::Cut);
            cluster.broker_network.strand();
            sleep(cut(chance)).await;
            cluster.broker_network.set(Network::Open);
        }
        Fault::BrokerBlocks => {
            broker.ctl(&["set_vm_memory_high_watermark", "0.00001"]).await;
            sleep(cut(chance)).await;
            broker.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
        }
        Fault::BrokerConnectionsReset => cluster.broker_network.reset(),
    }
    if cluster.gateway.is_none() {
        cluster.start_gateway().await;
    }
    if cluster.worker.is_none() {
        cluster.start_worker().await;
    }
}

/// How long a network is cut: the fault itself, and nothing that is waited for.
fn cut(chance: &mut Chance) -> Duration {
    Duration::from_millis(u64::try_from(chance.number(0..LONGEST_CUT_MS)).unwrap())
}
