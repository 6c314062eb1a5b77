//! Gauges of the events that wait in the database, and of the disk.

use std::time::Duration;

use callvine_shared::metrics::{FREE_DISK, OUTBOX_AGE, OUTBOX_ROWS};
use callvine_shared::objects::{Objects, Space};
use callvine_shared::pause::pause;
use callvine_shared::store::Store;
use chrono::Utc;
use metrics::gauge;
use tokio_util::sync::CancellationToken;

/// How often the backlog is counted and the disk is asked: often enough for an alert, seldom enough to cost nothing.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts until the shutdown. While the database or the disk is away its last figures stand.
pub(super) async fn run(store: Store, objects: Option<Objects>, shutdown: CancellationToken) {
    let space = objects.as_ref().map(Objects::space);
    loop {
        if let Some(space) = space.cloned() {
            note_free_disk(space).await;
        }
        match store.outbox_backlog().await {
            Ok((rows, oldest)) => {
                let age = oldest.map_or(0, |at| (Utc::now() - at).num_milliseconds().max(0));
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a gauge is a float; counts stay far below 2^53"
                )]
                {
                    gauge!(OUTBOX_ROWS).set(rows as f64);
                    gauge!(OUTBOX_AGE).set(age as f64 / 1000.0);
                }
            }
            Err(error) => tracing::debug!(%error, "cannot count the backlog"),
        }
        if !pause(INTERVAL, &shutdown).await {
            return;
        }
    }
}

async fn note_free_disk(space: Space) {
    match tokio::task::spawn_blocking(move || space.free_bytes()).await {
        Ok(Ok(bytes)) => {
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; nobody misses a KiB")]
            gauge!(FREE_DISK).set(bytes as f64);
        }
        Ok(Err(error)) => tracing::debug!(%error, "cannot ask the disk for its free space"),
        Err(error) => tracing::error!(%error, "asking the disk for its free space ended badly"),
    }
}
