//! The figures of all runs, as they are kept in a JSON file and read back for the report.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::subject::Subject;

const BYTES_PER_KIB: f64 = 1024.0;

/// The name of that file.
pub(crate) const FILE: &str = "results.json";

/// The last sitting of each scenario.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) scenarios: BTreeMap<String, Sitting>,
}

impl Results {
    /// Reads the results of earlier runs; there are none when there is no file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is not of this version: remove it", path.display()))
    }

    /// Writes the results, in a form that people can read too.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The runs of one scenario, made in one go. Only runs of the same sitting can be compared.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sitting {
    /// The time of its begin, UTC.
    pub(crate) began_at: String,
    /// The command that measures the same again.
    pub(crate) command: String,
    /// The program's commit.
    pub(crate) commit: String,
    pub(crate) machine: Machine,
    /// Interleaved repetitions.
    pub(crate) rounds: u32,
    /// Seconds of each run's measured part.
    pub(crate) seconds: u32,
    pub(crate) runs: Vec<Run>,
}

/// One subject in one case of its scenario, once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) subject: Subject,
    /// The case of the scenario, such as `64 connections`.
    pub(crate) case: String,
    /// The round, from 1.
    pub(crate) round: u32,
    pub(crate) measures: Measures,
}

/// The figures of one run; `None` where a figure does not apply.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Measures {
    /// Calls answered 201 (or rows inserted, messages confirmed, recordings kept) in the measured part.
    pub(crate) calls: u64,
    /// Calls answered otherwise, or not at all.
    pub(crate) failures: u64,
    /// Length of the measured part, until the last answer.
    pub(crate) seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) confirms: Option<Confirms>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outbox: Option<Outbox>,
    pub(crate) cpu: Cpu,
    pub(crate) memory: Memory,
}

/// Percentiles of the latency.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

/// The outbox after the load has ended.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Confirms {
    /// Events not yet confirmed when the last call was answered.
    pub(crate) backlog: u64,
    /// Time from then until the outbox was empty, or until the deadline.
    pub(crate) drain_seconds: f64,
    /// Events that were still there at the deadline.
    pub(crate) left: u64,
}

/// The outbox in PostgreSQL under load, from the database's own statistics.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outbox {
    pub(crate) table_bytes: u64,
    pub(crate) index_bytes: u64,
    pub(crate) live_rows: u64,
    /// Rows not yet vacuumed away.
    pub(crate) dead_rows: u64,
    /// Events in the outbox; a row may hold many.
    pub(crate) waiting: u64,
    /// Rows inserted or updated since the instance started.
    pub(crate) rows_written: u64,
    /// The same for all tables.
    pub(crate) rows_written_in_all: u64,
    /// Runs of autovacuum on the outbox since then.
    pub(crate) vacuums: u64,
}

impl Outbox {
    /// Kibibytes of the table.
    pub(crate) fn table_kib(&self) -> f64 {
        self.table_bytes as f64 / BYTES_PER_KIB
    }

    /// Kibibytes of its indexes.
    pub(crate) fn indexes_kib(&self) -> f64 {
        self.index_bytes as f64 / BYTES_PER_KIB
    }
}

/// Microseconds of processor time a call, from the first request to the last confirm.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cpu {
    /// The measured server's process.
    pub(crate) server_us: f64,
    pub(crate) postgres_us: f64,
    pub(crate) rabbitmq_us: f64,
    /// The load generator.
    pub(crate) load_us: f64,
    /// The whole machine, with the kernel's interrupts, which are charged to no process.
    pub(crate) machine_us: f64,
    /// Processors that were busy on average.
    pub(crate) busy_cores: f64,
    /// Share of the time that the hypervisor gave to other machines, from 0 to 1.
    pub(crate) stolen: f64,
}

/// Memory in mebibytes, with each shared page counted by the share of each process (PSS).
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// The measured server; the largest value that was seen under load.
    pub(crate) server_mib: f64,
    /// PostgreSQL after the load; most of it is its shared buffers.
    pub(crate) postgres_mib: f64,
    /// RabbitMQ after the load; most of it is the events in its queues.
    pub(crate) rabbitmq_mib: f64,
}

impl Measures {
    /// Processor time of a call outside these processes: the kernel's interrupts, and the rest of the machine.
    pub(crate) fn other_us(&self) -> f64 {
        let Cpu { server_us, postgres_us, rabbitmq_us, load_us, machine_us, .. } = self.cpu;
        (machine_us - server_us - postgres_us - rabbitmq_us - load_us).max(0.0)
    }

    /// Calls answered a second while the load lasted.
    pub(crate) fn calls_per_second(&self) -> f64 {
        per_second(self.calls, self.seconds)
    }

    /// Calls a second until the last event was confirmed, the rate that could go on for ever. `None` when no events are
    /// published, or some were not confirmed.
    pub(crate) fn sustained_per_second(&self) -> Option<f64> {
        Some(per_second(self.calls, self.settled_seconds()?))
    }

    /// Calls a second that could go on for ever: sustained where events are published, else answered.
    pub(crate) fn lasting_per_second(&self) -> Option<f64> {
        if self.confirms.is_some() { self.sustained_per_second() } else { Some(self.calls_per_second()) }
    }

    /// Events confirmed a second while the load lasted.
    pub(crate) fn confirmed_per_second(&self) -> Option<f64> {
        Some(per_second(self.calls.saturating_sub(self.confirms?.backlog), self.seconds))
    }

    /// Seconds from the first request to the last confirm; `None` as for [`Self::sustained_per_second`].
    pub(crate) fn settled_seconds(&self) -> Option<f64> {
        let confirms = self.confirms.filter(|confirms| confirms.left == 0)?;
        Some(self.seconds + confirms.drain_seconds)
    }
}

fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}
