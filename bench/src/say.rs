//! Progress on standard output.
#![expect(clippy::print_stdout, reason = "a run of hours shows its progress")]

use crate::results::Run;

/// Prints the figures of a run that is over.
pub(crate) fn run(run: &Run) {
    let Run { subject, case, round, measures } = run;
    let latency = measures.latency.map_or_else(String::new, |latency| {
        format!("  p50 {:.2} p99 {:.2} ms", latency.p50_ms, latency.p99_ms)
    });
    let confirms = measures.confirms.map_or_else(String::new, |confirms| {
        let sustained = measures.sustained_per_second();
        let sustained =
            sustained.map_or_else(|| "never drained".to_owned(), |rate| format!("{rate:.0}/s sustained"));
        format!("  {sustained} (drain {:.2} s of {})", confirms.drain_seconds, confirms.backlog)
    });
    let outbox = measures.outbox.map_or_else(String::new, |outbox| {
        let kib = |bytes: u64| bytes / 1024;
        format!(
            "  outbox {} KiB, indexes {} KiB, {} events",
            kib(outbox.table_bytes),
            kib(outbox.index_bytes),
            outbox.waiting
        )
    });
    let failures = match measures.failures {
        0 => String::new(),
        count => format!("  {count} FAILED"),
    };
    let cpu = measures.cpu;
    println!(
        "round {round}  {:<40} {case:<18} {:>9.0}/s{latency}{confirms}{outbox}  us/call: server {:.1} pg {:.1} rmq {:.1} load {:.1}  \
         {:.2} cores  {:.0} MiB{failures}",
        subject.title(),
        measures.calls_per_second(),
        cpu.server_us,
        cpu.postgres_us,
        cpu.rabbitmq_us,
        cpu.load_us,
        cpu.busy_cores,
        measures.memory.server_mib,
    );
}

/// Prints how far a table is filled.
pub(crate) fn filled(rows: u64, of: u64) {
    println!("filled {rows} of {of} rows");
}

/// Prints a line.
pub(crate) fn line(text: &str) {
    println!("{text}");
}
