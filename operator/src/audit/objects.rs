//! Objects that belong to no recording.

use std::collections::HashMap;

use callvine_shared::call::CallId;
use callvine_shared::objects::{ListedObject, Objects};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::findings::{Finding, Problem, Report};
use super::{AuditError, Scope};

/// Objects that the database is asked about at a time.
const PAGE: usize = 1000;

/// Reports every object that no recording names. It is left where it is: a person decides whether it may be removed.
pub(super) async fn judge_orphans(scope: &Scope, report: &mut Report<'_>) -> Result<(), AuditError> {
    let Some(objects) = &scope.plan.objects else { return Ok(()) };
    let mut directories = vec![String::new()];
    while let Some(directory) = directories.pop() {
        let listing = objects.list(&directory).await?;
        directories.extend(listing.directories.into_iter().filter(|name| may_be_in_window(scope, name)));
        // The recording of an object that was written just now may be about to be committed.
        let resting: Vec<ListedObject> = listing
            .objects
            .into_iter()
            .filter(|object| DateTime::<Utc>::from(object.modified) < scope.resting_since)
            .collect();
        for page in resting.chunks(PAGE) {
            judge_page(scope, objects, page, report).await?;
        }
    }
    Ok(())
}

async fn judge_page(
    scope: &Scope,
    objects: &Objects,
    page: &[ListedObject],
    report: &mut Report<'_>,
) -> Result<(), AuditError> {
    let ids: Vec<CallId> = page.iter().filter_map(|object| call_id(&object.key)).collect();
    let places = scope.plan.store.recording_locations(&ids).await?;
    let places: HashMap<i64, (Option<String>, bool)> =
        places.into_iter().map(|(id, location, is_pending)| (id.0, (location, is_pending))).collect();
    for object in page {
        let location = objects.location_of(&object.key);
        let detail = match call_id(&object.key) {
            None => "it is not named as an object of a recording".to_owned(),
            Some(CallId(id)) => match places.get(&id) {
                Some((named, _)) if *named == location => continue,
                // Kept by a fetch that then failed: the next one finds it.
                Some((_, true)) => continue,
                Some((_, false)) => format!("the recording of call {id} is not this object"),
                None => format!("there is no call {id}"),
            },
        };
        let location = location.unwrap_or_else(|| object.key.clone());
        report.found(&Finding::of_all(Problem::ObjectOrphan, detail).object(&location))?;
    }
    Ok(())
}

/// The call in `YYYY/MM/DD/ID-DIGEST.EXTENSION`.
fn call_id(key: &str) -> Option<CallId> {
    let (directory, name) = key.rsplit_once('/')?;
    day(directory)?;
    name.split_once('-')?.0.parse().ok().map(CallId)
}

/// The day in `YYYY/MM/DD`.
fn day(directory: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(directory, "%Y/%m/%d").ok()
}

/// Objects lie in the directory of the day on which their call was stored.
fn may_be_in_window(scope: &Scope, directory: &str) -> bool {
    let Some(day) = day(directory) else { return true };
    let begins = day.and_time(chrono::NaiveTime::MIN).and_utc();
    let ends = begins + TimeDelta::days(1);
    scope.plan.window.from < ends && begins < scope.plan.window.to
}
