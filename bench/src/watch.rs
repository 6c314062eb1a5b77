//! Measures the processor time and the memory of all processes in a run.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::load::Loaded;
use crate::procfs::{Snapshot, pss_mib};
use crate::results::{Confirms, Cpu, Measures, Memory};
use crate::stage::Stage;

/// Time between two looks at the server's memory under load; a look takes about a millisecond.
const MEMORY_INTERVAL: Duration = Duration::from_millis(500);

/// Facts of a server that the load generator does not know.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) server_mib: f64,
    pub(crate) confirms: Option<Confirms>,
}

/// The processor times of all processes before the load.
pub(crate) struct Watch {
    before: Snapshot,
    /// The ids of the server's processes, none of which is below another.
    server_roots: Vec<i32>,
    /// The same, and all that were below them at the beginning.
    server_tree: Vec<i32>,
    own_pid: i32,
}

impl Watch {
    /// Begins to measure the server with these processes and all below them.
    pub(crate) fn begin(server_roots: &[i32]) -> anyhow::Result<Self> {
        let before = Snapshot::take()?;
        let server_tree = server_roots.iter().flat_map(|pid| before.tree(*pid)).collect();
        let own_pid = i32::try_from(std::process::id())?;
        Ok(Self { before, server_roots: server_roots.to_vec(), server_tree, own_pid })
    }

    /// Runs the load; returns its outcome, and the most memory that the server had meanwhile, in mebibytes.
    pub(crate) async fn while_loaded(
        &self,
        load: impl Future<Output = anyhow::Result<Loaded>>,
    ) -> anyhow::Result<(Loaded, f64)> {
        let mut load = std::pin::pin!(load);
        let mut looks = interval(MEMORY_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut most_mib = 0.0_f64;
        let look = || self.server_tree.iter().copied().map(pss_mib).sum::<f64>();
        loop {
            tokio::select! {
                loaded = &mut load => return Ok((loaded?, most_mib.max(look()))),
                _ = looks.tick() => most_mib = most_mib.max(look()),
            }
        }
    }

    /// Computes the figures of the run, once its load and its events are done.
    pub(crate) fn end(&self, stage: &Stage, loaded: Loaded, seen: Seen) -> anyhow::Result<Measures> {
        let after = Snapshot::take()?;
        let calls = (loaded.calls.max(1)) as f64;
        let per_call_us = |seconds: f64| seconds * 1e6 / calls;
        let tree = |pid: i32| after.tree_seconds(pid) - self.before.tree_seconds(pid);
        let own = |at: &Snapshot| at.waited_for_seconds(self.own_pid);
        let machine = after.machine_since(&self.before);
        let memory = |pid: i32| after.tree(pid).into_iter().map(pss_mib).sum::<f64>();
        let cpu = Cpu {
            // Not `sum`, which is a negative zero for no processes.
            server_us: per_call_us(self.server_roots.iter().copied().map(tree).fold(0.0, |sum, s| sum + s)),
            postgres_us: per_call_us(tree(stage.postgres_pid())),
            rabbitmq_us: per_call_us(stage.rabbitmq_pid().map_or(0.0, tree)),
            // The load generator is a child that was waited for, or this program itself.
            load_us: per_call_us(own(&after) - own(&self.before)),
            machine_us: per_call_us(machine.busy_seconds),
            busy_cores: machine.busy_cores,
            stolen: machine.stolen,
        };
        Ok(Measures {
            calls: loaded.calls,
            failures: loaded.failures,
            seconds: loaded.seconds,
            latency: loaded.latency,
            confirms: seen.confirms,
            outbox: None,
            cpu,
            memory: Memory {
                server_mib: seen.server_mib,
                postgres_mib: memory(stage.postgres_pid()),
                rabbitmq_mib: stage.rabbitmq_pid().map_or(0.0, memory),
            },
        })
    }
}
