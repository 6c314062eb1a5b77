//! The columns of the report's tables.

use super::format::Column;
use crate::results::Measures;
use crate::scenario::Scenario;

const RATE: Column = Column::range("answered/s", 0, |measures| Some(measures.calls_per_second()));
const SUSTAINED: Column = Column::range("sustained/s", 0, Measures::sustained_per_second);
const CONFIRMED: Column = Column::median("confirmed/s meanwhile", 0, Measures::confirmed_per_second);
const P50: Column = Column::median("p50 ms", 2, |measures| measures.latency.map(|latency| latency.p50_ms));
const P99: Column = Column::range("p99 ms", 2, |measures| measures.latency.map(|latency| latency.p99_ms));
const P999: Column =
    Column::median("p99.9 ms", 2, |measures| measures.latency.map(|latency| latency.p999_ms));
const MAX: Column = Column::median("max ms", 1, |measures| measures.latency.map(|latency| latency.max_ms));
const DRAIN: Column =
    Column::median("drain s", 2, |measures| measures.confirms.map(|confirms| confirms.drain_seconds));
const LEFT: Column =
    Column::median("never confirmed", 0, |measures| measures.confirms.map(|confirms| confirms.left as f64));
const SERVER: Column = Column::median("server µs", 1, |measures| Some(measures.cpu.server_us));
const POSTGRES: Column = Column::median("PostgreSQL µs", 1, |measures| Some(measures.cpu.postgres_us));
const RABBITMQ: Column = Column::median("RabbitMQ µs", 1, |measures| Some(measures.cpu.rabbitmq_us));
const LOAD: Column = Column::median("load µs", 1, |measures| Some(measures.cpu.load_us));
const OTHER: Column = Column::median("kernel and other µs", 1, |measures| Some(measures.other_us()));
const BUSY: Column = Column::median("cores busy", 2, |measures| Some(measures.cpu.busy_cores));
const MEMORY: Column = Column::median("server MiB", 0, |measures| Some(measures.memory.server_mib));
const FAILURES: Column = Column::median("failures", 0, |measures| Some(measures.failures as f64));
const SECONDS: Column = Column::range("all answered, s", 2, |measures| Some(measures.seconds));
const SETTLED: Column = Column::range("all confirmed, s", 2, |measures| measures.settled_seconds());

const FETCHED: Column = Column::range("files/s", 1, |measures| Some(measures.calls_per_second()));

const OUTBOX: Column = Column::median("outbox KiB", 0, |measures| Some(measures.outbox?.table_kib()));
const INDEXES: Column = Column::median("its indexes KiB", 0, |measures| Some(measures.outbox?.indexes_kib()));
const LIVE: Column = Column::median("live rows", 0, |measures| Some(measures.outbox?.live_rows as f64));
const DEAD: Column = Column::median("dead rows", 0, |measures| Some(measures.outbox?.dead_rows as f64));
const WAITING: Column = Column::median("events waiting", 0, |measures| Some(measures.outbox?.waiting as f64));

/// Processor time by process, and how many processors were busy.
pub(super) const PROCESSORS: &[Column] = &[SERVER, POSTGRES, RABBITMQ, LOAD, OTHER, BUSY];

/// The columns of a scenario.
pub(super) fn columns(scenario: Scenario) -> &'static [Column] {
    match scenario {
        Scenario::Throughput => &[RATE, SUSTAINED, CONFIRMED, DRAIN, LEFT, P50, P99, MEMORY, FAILURES],
        Scenario::Rates => &[RATE, P50, P99, P999, MAX, BUSY, FAILURES],
        Scenario::Burst => &[SECONDS, SETTLED, RATE, P50, P99, MAX, FAILURES],
        Scenario::Lonely => &[P50, P99, MAX, FAILURES],
        Scenario::Sizes => &[RATE, P50, P99, POSTGRES, FAILURES],
        Scenario::Bodies => &[RATE, SUSTAINED, P50, P99, SERVER, POSTGRES, RABBITMQ, FAILURES],
        Scenario::Bloat => &[RATE, P99, OUTBOX, INDEXES, LIVE, DEAD, WAITING, MEMORY, FAILURES],
        Scenario::Fetch => &[FETCHED, SERVER, POSTGRES, RABBITMQ, LOAD, OTHER, BUSY, MEMORY],
    }
}
