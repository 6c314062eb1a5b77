//! `callvine audit`: what the tables, the broker and the stored objects say of each other.
//!
//! What is under way is read first (outbox, queues), then what rests. Something that rests, and has rested since
//! before the audit began, can't have been on its way while the audit read: so nothing is called lost that is only
//! moving. Args' help says what an audit can't prove.

mod calls;
mod findings;
mod objects;
mod traffic;

use anyhow::{Context, anyhow};
use callvine_shared::objects::{Address, Objects, ObjectsError};
use callvine_shared::store::{Store, Window};
use chrono::{DateTime, TimeDelta, Utc};

use self::findings::Report;
use self::traffic::Traffic;
use crate::args::Audit;
use crate::commands::serve::recordings;
use crate::failure::Failure;
use crate::process::{self, url_of};

/// What is audited, and against what.
pub(super) struct Scope {
    store: Store,
    /// `None`: there is no such place.
    objects: Option<Objects>,
    window: Window,
    /// When the audit began.
    now: DateTime<Utc>,
    /// What nothing has happened to since then rests.
    resting_since: DateTime<Utc>,
    /// Whether the bytes of objects are read.
    deep: bool,
    /// Whether messages go through a broker; else they are rows.
    has_broker: bool,
}

/// Audits, prints, and fails when anything is wrong.
pub(crate) async fn run(audit: Audit) -> Result<(), Failure> {
    let amqp_url = audit.amqp_url.as_deref().filter(|url| !url.is_empty());
    let place = recordings(&audit.recordings, &audit.database.data_dir)?;
    let now = Utc::now();
    let stuck_after = TimeDelta::from_std(audit.stuck_after).unwrap_or(TimeDelta::MAX);
    let scope = Scope {
        store: process::open_existing(&url_of(&audit.database)).await?,
        objects: open(&place).await?,
        window: Window {
            from: audit.from.unwrap_or(DateTime::UNIX_EPOCH),
            to: audit.to.unwrap_or(DateTime::<Utc>::MAX_UTC),
        },
        now,
        resting_since: now.checked_sub_signed(stuck_after).unwrap_or(DateTime::UNIX_EPOCH),
        deep: audit.deep,
        has_broker: amqp_url.is_some(),
    };
    let mut report = Report::new(audit.json, audit.repair);
    let traffic = Traffic::observe(&scope, amqp_url, &mut report).await?;
    traffic.judge_resting(&scope, &mut report).await?;
    calls::judge(&scope, &traffic, &mut report).await?;
    objects::judge_orphans(&scope, &mut report).await?;
    scope.store.close().await;
    let problems = report.finish()?;
    if problems > 0 {
        return Err(anyhow!("the audit found {problems} {}", findings::plural(problems, "problem")).into());
    }
    Ok(())
}

/// The place of the objects, if it exists: before the first recording is kept it need not.
async fn open(address: &Address) -> Result<Option<Objects>, Failure> {
    match Objects::open_existing(address).await {
        Ok(objects) => Ok(Some(objects)),
        Err(ObjectsError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(anyhow::Error::new(error).context("cannot open the place of the recordings").into())
        }
    }
}

/// Adds what was being done to an error of the database.
fn reading<T, E: std::error::Error + Send + Sync + 'static>(result: Result<T, E>) -> Result<T, Failure> {
    Ok(result.context("cannot finish the audit")?)
}
