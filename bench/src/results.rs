//! What was measured, as it is kept in the JSON file and read back for the report.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::subject::Subject;

const BYTES_PER_KIB: f64 = 1024.0;

/// The file of the results.
pub(crate) const FILE: &str = "results.json";

/// All scenarios' last sittings.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) scenarios: BTreeMap<String, Sitting>,
}

impl Results {
    /// What an earlier run has left there; nothing when there is no file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is not of this version: remove it", path.display()))
    }

    /// Writes them for people and programs.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// One scenario, measured in one go: only what was measured in the same sitting can be compared.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sitting {
    /// UTC.
    pub(crate) began_at: String,
    /// The command that measures it again.
    pub(crate) command: String,
    /// The program's commit.
    pub(crate) commit: String,
    pub(crate) machine: Machine,
    /// Repetitions of the whole, interleaved.
    pub(crate) rounds: u32,
    /// Of each run's measured part.
    pub(crate) seconds: u32,
    pub(crate) runs: Vec<Run>,
}

/// One subject in one case of its scenario, once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) subject: Subject,
    /// What the scenario varies, such as `64 connections`.
    pub(crate) case: String,
    /// From 1.
    pub(crate) round: u32,
    pub(crate) measures: Measures,
}

/// The figures of one run. What does not apply is `None`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Measures {
    /// Answered 201 (or inserted, or confirmed) in the measured part.
    pub(crate) calls: u64,
    /// Answered otherwise, or not at all.
    pub(crate) failures: u64,
    /// The measured part, until the last answer.
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

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

/// What was still in the outbox when the load ended.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Confirms {
    /// Events not yet confirmed when the last call was answered.
    pub(crate) backlog: u64,
    /// From then until the outbox was empty, or until that was given up.
    pub(crate) drain_seconds: f64,
    /// Events still there when it was given up.
    pub(crate) left: u64,
}

/// The outbox in PostgreSQL, under load, as its own statistics have it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outbox {
    pub(crate) table_bytes: u64,
    pub(crate) index_bytes: u64,
    pub(crate) live_rows: u64,
    /// Not yet vacuumed away.
    pub(crate) dead_rows: u64,
    /// Events in it, of which a row may hold many.
    pub(crate) waiting: u64,
    /// Rows inserted, and updated, since the instance started.
    pub(crate) rows_written: u64,
    /// The same of all tables.
    pub(crate) rows_written_in_all: u64,
    /// How often it was vacuumed by itself since then.
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
    /// The whole machine, with the kernel's interrupts, which no process is charged for.
    pub(crate) machine_us: f64,
    /// How many processors were busy on average.
    pub(crate) busy_cores: f64,
    /// Share of the time that the hypervisor gave to others; 0 on a machine of one's own.
    pub(crate) stolen: f64,
}

/// Mebibytes, each shared page counted by the share of each process (PSS).
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// The measured server's process, the most that was seen under load.
    pub(crate) server_mib: f64,
    /// After the load; mostly its shared buffers.
    pub(crate) postgres_mib: f64,
    /// After the load; mostly the events that nobody has consumed.
    pub(crate) rabbitmq_mib: f64,
}

impl Measures {
    /// Processor time of a call that no process here is charged for: the kernel's interrupts, and the rest of the
    /// machine.
    pub(crate) fn other_us(&self) -> f64 {
        let Cpu { server_us, postgres_us, rabbitmq_us, load_us, machine_us, .. } = self.cpu;
        (machine_us - server_us - postgres_us - rabbitmq_us - load_us).max(0.0)
    }

    /// Calls answered a second while the load lasted.
    pub(crate) fn calls_per_second(&self) -> f64 {
        per_second(self.calls, self.seconds)
    }

    /// Calls a second until the last event was confirmed: the rate that could go on for ever. `None` when events are
    /// not published, or were not all confirmed.
    pub(crate) fn sustained_per_second(&self) -> Option<f64> {
        Some(per_second(self.calls, self.settled_seconds()?))
    }

    /// Calls a second that could go on for ever: until the last confirm where events are published, else until the last
    /// answer.
    pub(crate) fn lasting_per_second(&self) -> Option<f64> {
        if self.confirms.is_some() { self.sustained_per_second() } else { Some(self.calls_per_second()) }
    }

    /// Events confirmed a second while the load lasted.
    pub(crate) fn confirmed_per_second(&self) -> Option<f64> {
        Some(per_second(self.calls.saturating_sub(self.confirms?.backlog), self.seconds))
    }

    /// Seconds from the first request to the last confirm.
    pub(crate) fn settled_seconds(&self) -> Option<f64> {
        let confirms = self.confirms.filter(|confirms| confirms.left == 0)?;
        Some(self.seconds + confirms.drain_seconds)
    }
}

fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}
