//! Whether the tables, the queues and the stored objects agree.
//!
//! Messages under way are read first (outbox, queues), then everything that rests. A recording or an analysis that has
//! rested since before the audit began can't have had a message under way while the audit read: so nothing is called
//! lost that is only moving. The help of `callvine audit` says what an audit can't prove.

mod calls;
mod findings;
mod objects;
mod traffic;

use std::io;
use std::time::Duration;

use callvine_shared::bus::Queues;
use callvine_shared::objects::{Address, Objects, ObjectsError};
use callvine_shared::store::{Store, StoreError, Window};
use chrono::{DateTime, TimeDelta, Utc};

use self::findings::Report;
pub use self::findings::{Counts, Finding, Problem};
use self::traffic::Traffic;

/// The plan of an audit: its window, the backends, and how deep it looks.
#[derive(Debug)]
pub struct Plan {
    /// The database, at the current schema.
    pub store: Store,
    /// Where messages wait.
    pub queues: Queues,
    /// Where recordings are kept, from [`existing_objects`]; `None`: nothing is there.
    pub objects: Option<Objects>,
    /// The calls to be judged.
    pub window: Window,
    /// How long an event, a recording or an analysis may rest before it counts as stuck.
    pub stuck_after: Duration,
    /// Whether every object is read and its SHA-256 compared, not only its size.
    pub deep: bool,
    /// Whether everything that can be queued again is.
    pub repair: bool,
}

/// A plan at the time at which its audit began.
struct Scope {
    plan: Plan,
    /// When the audit began.
    now: DateTime<Utc>,
    /// A row to which nothing has happened since then rests.
    resting_since: DateTime<Utc>,
}

/// Audits. Each finding goes to `sink` as soon as it is made; the counts are the result.
///
/// Memory holds one page of rows, and the ids of the calls that have a message under way or rest without one. Such an
/// audit may take minutes; it may run beside the running system, and be dropped at any time.
///
/// # Errors
/// [`AuditError`] when it can't be finished; the sink's own error ends it too.
pub async fn run(
    plan: Plan,
    sink: &mut (dyn FnMut(&Finding) -> io::Result<()> + Send),
) -> Result<Counts, AuditError> {
    let now = Utc::now();
    let stuck_after = TimeDelta::from_std(plan.stuck_after).unwrap_or(TimeDelta::MAX);
    let resting_since = now.checked_sub_signed(stuck_after).unwrap_or(DateTime::UNIX_EPOCH);
    let mut report = Report::new(plan.repair, sink);
    let scope = Scope { plan, now, resting_since };
    let traffic = Traffic::observe(&scope, &mut report).await?;
    traffic.judge_resting(&scope, &mut report).await?;
    calls::judge(&scope, &traffic, &mut report).await?;
    objects::judge_orphans(&scope, &mut report).await?;
    Ok(report.counts)
}

/// The objects at this address; `None`: there is no such location. It need not exist before the first recording is kept,
/// and an audit must not create it.
///
/// # Errors
/// [`AuditError::Location`] when it can't be opened.
pub async fn existing_objects(address: &Address) -> Result<Option<Objects>, AuditError> {
    match Objects::open_existing(address).await {
        Ok(objects) => Ok(Some(objects)),
        Err(ObjectsError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AuditError::Location(error)),
    }
}

/// Why an audit can't be finished.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The database can't be read, or a repair can't be written.
    #[error("cannot finish the audit")]
    Store(#[from] StoreError),
    /// Objects can't be listed or read.
    #[error("cannot finish the audit")]
    Objects(#[from] ObjectsError),
    /// The location of the recordings can't be opened.
    #[error("cannot open the location of the recordings")]
    Location(#[source] ObjectsError),
    /// The sink took no more findings.
    #[error("cannot report what the audit found")]
    Sink(#[source] io::Error),
}
