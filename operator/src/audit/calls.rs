//! Every call of the window: its recording, its analysis, its dead letter, its object.

use callvine_shared::call::CallId;
use callvine_shared::objects::Objects;
use callvine_shared::recording::Status;
use callvine_shared::store::{AuditedCall, DeadLetterKind};
use chrono::Utc;

use super::findings::{Finding, Problem, Report};
use super::traffic::Traffic;
use super::{AuditError, Scope};
use crate::pages::Pages;

/// Judges all calls of the window.
pub(super) async fn judge(
    scope: &Scope,
    traffic: &Traffic,
    report: &mut Report<'_>,
) -> Result<(), AuditError> {
    let objects = usable_objects(scope).await?;
    let mut location_is_missed = false;
    let mut pages = Pages::after(CallId(0));
    let (store, window) = (&scope.plan.store, scope.plan.window);
    while let Some(page) = pages.take(store.audit_calls(window, pages.last()).await?, |call| call.id) {
        for call in &page {
            report.counts.calls += 1;
            match call.recording {
                None => {
                    let detail = "the call has no row in recordings";
                    let finding = Finding::of_call(Problem::RecordingMissing, call.id, detail);
                    report.found_and_queued(scope, finding, DeadLetterKind::Recording).await?;
                }
                Some(Status::Pending) => report.counts.pending += 1,
                Some(Status::Failed) => {
                    report.counts.failed += 1;
                    judge_dead_letter(scope, traffic, call, report).await?;
                }
                Some(Status::Stored) => {
                    report.counts.stored += 1;
                    judge_analysis(scope, call, report).await?;
                    match objects {
                        Some(objects) => judge_object(scope, objects, call, report).await?,
                        None if !location_is_missed => {
                            location_is_missed = true;
                            let detail = "there are stored recordings, but nothing where they should be (is \
                                          CALLVINE_RECORDINGS_URL right, and mounted?); objects are not judged";
                            report.found(&Finding::of_all(Problem::PlaceMissing, detail))?;
                        }
                        None => {}
                    }
                }
            }
        }
    }
    Ok(())
}

/// The objects, unless there are none: an empty location is the wrong one, or a file system that isn't mounted, and
/// then nobody wants everything to be fetched anew.
async fn usable_objects(scope: &Scope) -> Result<Option<&Objects>, AuditError> {
    let Some(objects) = &scope.plan.objects else { return Ok(None) };
    let root = objects.list("").await?;
    Ok((!root.directories.is_empty() || !root.objects.is_empty()).then_some(objects))
}

async fn judge_analysis(
    scope: &Scope,
    call: &AuditedCall,
    report: &mut Report<'_>,
) -> Result<(), AuditError> {
    if call.analysis.is_some() {
        return Ok(());
    }
    let detail = "its recording is stored, and it has no row in analyses";
    let finding = Finding::of_call(Problem::AnalysisMissing, call.id, detail);
    report.found_and_queued(scope, finding, DeadLetterKind::Analysis).await
}

/// Not with a broker: there, whoever reads the dead letters may have taken one for a good reason.
async fn judge_dead_letter(
    scope: &Scope,
    traffic: &Traffic,
    call: &AuditedCall,
    report: &mut Report<'_>,
) -> Result<(), AuditError> {
    let rests = call.failed_at.is_none_or(|at| at < scope.resting_since);
    if scope.plan.queues.are_in_a_broker() || !rests || traffic.has_dead_letter(call.id) {
        return Ok(());
    }
    let repaired = report.repairs() && scope.plan.store.requeue_dead_letter(call.id, Utc::now()).await?;
    let detail = "its recording was given up, and is not among the dead letters";
    report.found_and(Finding::of_call(Problem::DeadLetterMissing, call.id, detail), repaired)
}

async fn judge_object(
    scope: &Scope,
    objects: &Objects,
    call: &AuditedCall,
    report: &mut Report<'_>,
) -> Result<(), AuditError> {
    let location = call.location.as_deref().unwrap_or_default();
    let Some(key) = objects.key_of(location) else {
        let detail = "its recording lies outside the audited place, and was not looked at";
        let finding = Finding::of_call(Problem::ObjectElsewhere, call.id, detail).object(location);
        return report.found(&finding);
    };
    report.counts.objects += 1;
    let expected = call.size_bytes.unwrap_or(0);
    let (problem, detail) = match objects.size_bytes(&key).await? {
        None => (Problem::ObjectMissing, "its recording is stored, and the object is not there".to_owned()),
        Some(size) if i64::try_from(size) != Ok(expected) => {
            (Problem::ObjectSize, format!("the object has {size} bytes instead of {expected}"))
        }
        Some(_) if scope.plan.deep => match objects.sha256(&key).await? {
            digest if digest == call.sha256 => return Ok(()),
            _ => (Problem::ObjectContent, "the object's bytes are not those that were stored".to_owned()),
        },
        Some(_) => return Ok(()),
    };
    let repaired = report.repairs() && refetch(scope, objects, (call.id, location, &key)).await?;
    report.found_and(Finding::of_call(problem, call.id, detail).object(location), repaired)
}

/// Moves the rest of the object out of the way and queues the recording. In this order: an object is never replaced, so
/// the fetch must find its name free.
async fn refetch(
    scope: &Scope,
    objects: &Objects,
    (call_id, location, key): (CallId, &str, &str),
) -> Result<bool, AuditError> {
    objects.set_aside(key).await?;
    Ok(scope.plan.store.refetch_recording(call_id, location, Utc::now()).await?)
}
