//! Overload: refused at once and in kind, and over as soon as the load is. And clients that only hold connections.

use std::time::Duration;

use harness::{Answered, Load, Network, peak_memory_bytes};
use tokio::task::JoinSet;

use crate::cluster::{Cluster, LANES};
use crate::holders::{ALL, hold};
use crate::outage::assert_unnoticed;
use crate::report::say;

/// Calls that the gateway lets in at once. The default, 10,000, is more than the tests' clients can have under way on a
/// small machine.
const IN_FLIGHT: usize = 64;
/// Connections of the overload: several times what is let in.
const CONNECTIONS: usize = 400;
/// Delay of each piece to the database or back. The database must be the bottleneck, and not the processors, which the
/// clients need as well.
const DATABASE_DELAY: Duration = Duration::from_millis(25);
/// Files that a process may have open unless it asks for more, on most systems.
const USUAL_OPEN_FILES: u32 = 1024;
/// A gateway's memory: a base, and so much for each connection that it has ever had at once.
const MEMORY_BASE_BYTES: u64 = 64 * 1024 * 1024;
const MEMORY_OF_A_CONNECTION_BYTES: u64 = 64 * 1024;
/// By how much overload may slow down those that are let in. Medians are compared: the slowest of a hundred tells more
/// of the machine than of the gateway.
const SLOWER: u32 = 5;

/// Goal: offered twice what it can take, the gateway lets in as many as it may, refuses the others with 503 and
/// `Retry-After`, stays within its memory, and is as before when the load is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twice_what_it_can_take_is_refused_in_part_and_slows_down_nobody_for_long() {
    let mut cluster = Cluster::start_alone().await;
    cluster.kill_worker();
    cluster.kill_gateway();
    let limited = cluster.command("gateway").env("CALLVINE_MAX_IN_FLIGHT", IN_FLIGHT.to_string());
    let mut gateway = limited.start().await;
    let provider = cluster.provider.clone();
    cluster.database_network.set(Network::Slow(DATABASE_DELAY));
    let body = move || provider.call("http://127.0.0.1:9/unheard.wav").to_string();
    let load = Load::new(gateway.public_socket().await, &cluster.key, body);

    let full = load.run(IN_FLIGHT, None, Duration::from_secs(3)).await;
    let capacity = f64::from(u32::try_from(full.len()).unwrap()) / 3.0;
    let half = load.run(IN_FLIGHT, Some(capacity / 2.0), Duration::from_secs(3)).await;
    let double = load.run(CONNECTIONS, Some(capacity * 2.0), Duration::from_secs(5)).await;
    let after = load.run(IN_FLIGHT, Some(capacity / 2.0), Duration::from_secs(2)).await;
    let memory = peak_memory_bytes(gateway.pid());
    say(&format!(
        "overload: {capacity:.0} calls a second; p99 at half {:?}, at twice {:?}, after it {:?}; {} of {} refused; {memory} bytes",
        percentile(&half, 99),
        percentile(&double, 99),
        percentile(&after, 99),
        count(&double, 503),
        double.len(),
    ));

    assert_eq!(count(&half, 201), half.len());
    assert_eq!(count(&double, 201) + count(&double, 503), double.len(), "201 or 503, nothing else");
    assert!(count(&double, 503) > 0, "nothing was refused: it was no overload");
    assert!(double.iter().all(|answered| answered.status == 201 || answered.has_retry_after));
    let normal = percentile(&half, 50);
    let (during, since) = (percentile(&double, 50), percentile(&after, 50));
    assert!(during <= normal * SLOWER, "{during:?} under overload, {normal:?} before");
    assert_eq!(count(&after, 201), after.len());
    assert!(since <= normal * 2, "{since:?} after the overload, {normal:?} before");
    assert!(
        memory <= MEMORY_BASE_BYTES + CONNECTIONS as u64 * MEMORY_OF_A_CONNECTION_BYTES,
        "{memory} bytes"
    );

    // Everything that was let in is stored.
    cluster.database_network.set(Network::Open);
    let promised = [full, half, double, after].iter().map(|answered| count(answered, 201)).sum::<usize>();
    let stored = cluster.database.count("from call_logs").await.unwrap();
    assert_eq!(usize::try_from(stored).unwrap(), promised);
    gateway.stop().await.assert_code(0);
}

/// Goal: two thousand clients that send nothing, or a byte now and then, or requests that they cancel, stop nobody
/// else. Method: the process starts with the usual limit of open files, which is less.
#[tokio::test]
async fn two_thousand_connections_that_only_take_room_stop_no_other_client() {
    harness::raise_open_files();
    let mut cluster = Cluster::start_alone().await;
    cluster.kill_gateway();
    let mut gateway = cluster.command("gateway").open_files(USUAL_OPEN_FILES).start().await;
    let address = gateway.public_socket().await;
    cluster.address.redirect(address);
    cluster.gateway = Some(gateway);
    let traffic = cluster.traffic();
    assert_unnoticed(&cluster.provider, 10 * LANES).await;
    let mut holders = JoinSet::new();
    for number in 0..2000 {
        holders.spawn(hold(address, ALL.get(number % ALL.len()).copied().unwrap(), cluster.key.clone()));
    }
    assert_unnoticed(&cluster.provider, 40 * LANES).await;
    traffic.stop().await;
    holders.shutdown().await;
    cluster.finish("2000 connections").await;
}

fn count(answered: &[Answered], status: u16) -> usize {
    answered.iter().filter(|answered| answered.status == status).count()
}

/// The time within which so many of a hundred were answered, of those that were let in.
fn percentile(answered: &[Answered], percent: usize) -> Duration {
    let mut took: Vec<_> =
        answered.iter().filter(|answered| answered.status == 201).map(|answered| answered.took).collect();
    took.sort_unstable();
    *took.get(took.len() * percent / 100).expect("something was let in")
}
