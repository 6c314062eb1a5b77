//! Names and meanings of the metrics that several processes write. Those of one room are described in that room.

use metrics::{Unit, describe_counter, describe_gauge};

/// Messages that the bus has confirmed.
pub const EVENTS_PUBLISHED: &str = "callvine_events_published_total";
/// Rows in the outbox.
pub const OUTBOX_ROWS: &str = "callvine_outbox_rows";
/// Age of the oldest row in the outbox, in seconds.
pub const OUTBOX_AGE: &str = "callvine_outbox_oldest_seconds";
/// Children that read a recording.
pub const CELLS_RUNNING: &str = "callvine_proofs_running";
/// Children that ended while they read a recording, or were killed.
pub const CELLS_KILLED: &str = "callvine_proofs_killed_total";
/// Free bytes on the disk where recordings are staged.
pub const FREE_DISK: &str = "callvine_free_disk_bytes";

/// Describes these metrics to the recorder.
pub fn describe() {
    describe_counter!(EVENTS_PUBLISHED, "Messages published and confirmed");
    describe_gauge!(OUTBOX_ROWS, "Messages in the outbox: due, being published, or waiting for their time");
    describe_gauge!(OUTBOX_AGE, "Seconds since the oldest message in the outbox was written");
    describe_gauge!(CELLS_RUNNING, "Recordings that are being proved");
    describe_counter!(
        CELLS_KILLED,
        "Proofs whose process was killed or broke, by reason: deadline, processor_time, memory, crash, or nonsense (it \
         gave an impossible answer)"
    );
    describe_gauge!(
        FREE_DISK,
        Unit::Bytes,
        "Free bytes on the disk where recordings are staged; CALLVINE_MIN_FREE of them stay free"
    );
}
