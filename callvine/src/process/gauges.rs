//! Gauges of the events that wait in the database.

use std::time::Duration;

use callvine_shared::metrics::{OUTBOX_AGE, OUTBOX_ROWS};
use callvine_shared::pause::pause;
use callvine_shared::store::Store;
use chrono::Utc;
use metrics::gauge;
use tokio_util::sync::CancellationToken;

/// How often the backlog is counted: often enough for an alert, seldom enough to cost nothing.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts until the shutdown. While the database is away the last figures stand.
pub(super) async fn run(store: Store, shutdown: CancellationToken) {
    loop {
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
