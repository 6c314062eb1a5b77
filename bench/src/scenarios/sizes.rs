//! Tables that are full before the first call. They are made once and serve every round.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};

use crate::instance::create_key;
use crate::say;
use crate::stage::Stage;

/// Rows of one statement, which takes some seconds.
const CHUNK_ROWS: u64 = 1_000_000;

/// Bytes of disk for a row, with its indexes and some room.
const ROW_BYTES: u64 = 500;

/// Bytes of disk for everything else: the write-ahead log, and the calls of each run.
const SITTING_BYTES: u64 = 12_000_000_000;

/// Inserts calls like those that are posted, a second apart.
const FILL_CALLS: &str = "
insert into call_logs (id, client, from_phone, to_phone, handled_by, department, start_time, end_time, recording_url,
                       title, created_at)
select id, 'bench', '+1908727' || id % 10000, '+1800600' || id % 10000, 'Agent Smith ' || id % 256,
       'Customer Service', at, at + interval '90 seconds', 'http://127.0.0.1:9/recordings/' || id || '.wav',
       'Call from +1908727' || id % 10000 || ' to +1800600' || id % 10000 || ' (handled by Agent Smith ' || id % 256 || ')',
       at + interval '2 minutes'
from (select id, timestamp '1975-01-01' + id * interval '1 second' as at from generate_series";

const FILL_RECORDINGS: &str = "
insert into recordings (call_id, status, attempts, size_bytes, stored_at)
select id, 'stored', 1, 242880, timestamp '2024-01-15 10:30:00' from generate_series";

/// Makes a database for each of these numbers of rows. Zero needs none: each run then has a new database.
pub(super) async fn fill(
    stage: &Stage,
    rows: impl Iterator<Item = u64>,
) -> anyhow::Result<BTreeMap<u64, String>> {
    let mut full = BTreeMap::new();
    let rows: Vec<u64> = rows.collect();
    let all: u64 = rows.iter().sum();
    check_disk(stage, all * ROW_BYTES + if all > 0 { SITTING_BYTES } else { 0 })?;
    for rows in rows.into_iter().filter(|rows| *rows > 0) {
        let url = stage.database().await;
        create_key(stage, &url).await;
        for first in (1..=rows).step_by(usize::try_from(CHUNK_ROWS)?) {
            let last = rows.min(first + CHUNK_ROWS - 1);
            stage.execute(&url, format!("{FILL_CALLS}({first}, {last}) as id) as call")).await?;
            stage.execute(&url, format!("{FILL_RECORDINGS}({first}, {last}) as id")).await?;
            say::filled(last, rows);
        }
        stage.execute(&url, format!("select setval('call_ids', {rows} + 1000)")).await?;
        // Now rather than by autovacuum in the middle of a run.
        stage.execute(&url, "vacuum (freeze, analyze) call_logs".to_owned()).await?;
        stage.execute(&url, "vacuum (freeze, analyze) recordings".to_owned()).await?;
        full.insert(rows, url);
    }
    stage.checkpoint().await?;
    Ok(full)
}

/// Fails when the disk is too small, before hours are lost.
pub(super) fn check_disk(stage: &Stage, needed: u64) -> anyhow::Result<()> {
    let disk = rustix::fs::statvfs(&stage.directory).context("cannot look at the disk")?;
    let free = disk.f_bavail * disk.f_frsize;
    ensure!(
        free >= needed,
        "{needed} bytes of disk are needed in the temporary directory, and {free} are free: measure less, or set TMPDIR"
    );
    Ok(())
}

/// Removes the databases again.
pub(super) async fn remove(stage: &Stage, full: BTreeMap<u64, String>) -> anyhow::Result<()> {
    for url in full.into_values() {
        stage.drop_database(&url).await?;
    }
    Ok(())
}
