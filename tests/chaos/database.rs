//! The database away: killed, cut off without a word, out of connections.

use harness::Network;

use crate::cluster::Cluster;
use crate::outage::Outage;

/// Posts that must be answered while the database is away: each lane's, three times.
const REFUSED: usize = 3 * crate::cluster::LANES;

/// Goal: a database whose host vanishes (no FIN, no RST; what was connected hangs for ever) is answered 500 in time,
/// and found again by gateway, relay and worker, whose connections can't tell that they are dead.
#[tokio::test]
async fn a_database_that_vanishes_without_a_word_is_found_again() {
    let cluster = Cluster::start().await;
    let traffic = cluster.traffic();
    crate::chance::Chance::new("database vanished").moment(&cluster.provider).await;
    let outage = Outage::begin(&cluster.provider);
    cluster.database_network.set(Network::Cut);
    cluster.database_network.strand();
    outage.until_answered(&cluster.provider, REFUSED).await;
    cluster.database_network.set(Network::Open);
    outage.end(&cluster.provider).await;
    traffic.stop().await;
    cluster.finish("database vanished").await;
}
