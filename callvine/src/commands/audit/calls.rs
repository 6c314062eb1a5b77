//! Every call of the window: its recording, its analysis, its dead letter, its object.

use callvine_shared::call::CallId;
use callvine_shared::objects::Objects;
use callvine_shared::recording::Status;
use callvine_shared::store::AuditedCall;
use chrono::Utc;

use super::findings::{Finding, Problem, Report};
use super::traffic::Traffic;
use super::{Scope, reading};
use crate::failure::Failure;

/// Judges all calls of the window.
pub(super) async fn judge(scope: &Scope, traffic: &Traffic, report: &mut Report) -> Result<(), Failure> {
    let place = usable_place(scope).await?;
    let mut place_is_missed = false;
    let mut last = CallId(0);
    loop {
        let page = reading(scope.store.audit_calls(scope.window, last).await)?;
        let Some(end) = page.last() else { return Ok(()) };
        last = end.id;
        for call in &page {
            report.counts.calls += 1;
            match call.recording {
                None => missing_recording(scope, call, report).await?,
                Some(Status::Stored) => {
                    report.counts.stored += 1;
                    if call.analysis.is_none() {
                        missing_analysis(scope, call, report).await?;
                    }
                    match place {
                        Some(objects) => judge_object(scope, objects, call, report).await?,
                        None if !place_is_missed => {
                            place_is_missed = true;
                            let detail = "there are stored recordings, but nothing where they should be (is \
                                          CALLVINE_RECORDINGS_URL right, and mounted?); objects are not judged";
                            report.found(&Finding::of_all(Problem::PlaceMissing, detail))?;
                        }
                        None => {}
                    }
                }
                Some(Status::Failed) => {
                    report.counts.failed += 1;
                    judge_dead_letter(scope, traffic, call, report).await?;
                }
                Some(Status::Pending) => report.counts.pending += 1,
            }
        }
    }
}

/// The place of the objects, unless it is empty: then it is the wrong one, or a file system that isn't mounted, and
/// fetching everything anew is not what anybody wants.
async fn usable_place(scope: &Scope) -> Result<Option<&Objects>, Failure> {
    let Some(objects) = &scope.objects else { return Ok(None) };
    let root = reading(objects.list("").await)?;
    Ok((!root.directories.is_empty() || !root.objects.is_empty()).then_some(objects))
}

async fn missing_recording(scope: &Scope, call: &AuditedCall, report: &mut Report) -> Result<(), Failure> {
    let repaired = report.repairs() && reading(scope.store.requeue_recording(call.id, Utc::now()).await)?;
    let finding = Finding::of_call(Problem::RecordingMissing, call.id, "the call has no row in recordings");
    report.found_and(finding, repaired)
}

async fn missing_analysis(scope: &Scope, call: &AuditedCall, report: &mut Report) -> Result<(), Failure> {
    let repaired = report.repairs() && reading(scope.store.requeue_analysis(call.id, Utc::now()).await)?;
    let detail = "its recording is stored, and it has no row in analyses";
    report.found_and(Finding::of_call(Problem::AnalysisMissing, call.id, detail), repaired)
}

/// A broker's dead letters are for whoever reads them: there they may be gone for a good reason.
async fn judge_dead_letter(
    scope: &Scope,
    traffic: &Traffic,
    call: &AuditedCall,
    report: &mut Report,
) -> Result<(), Failure> {
    let rests = call.failed_at.is_none_or(|at| at < scope.resting_since);
    if scope.has_broker || !rests || traffic.has_dead_letter(call.id) {
        return Ok(());
    }
    let repaired = report.repairs() && reading(scope.store.requeue_dead_letter(call.id, Utc::now()).await)?;
    let detail = "its recording was given up, and is not among the dead letters";
    report.found_and(Finding::of_call(Problem::DeadLetterMissing, call.id, detail), repaired)
}

async fn judge_object(
    scope: &Scope,
    objects: &Objects,
    call: &AuditedCall,
    report: &mut Report,
) -> Result<(), Failure> {
    let location = call.location.as_deref().unwrap_or_default();
    let Some(key) = objects.key_of(location) else {
        let detail = "its recording lies outside the audited place, and was not looked at";
        let finding = Finding::of_call(Problem::ObjectElsewhere, call.id, detail).object(location);
        return report.found(&finding);
    };
    report.counts.objects += 1;
    let expected = call.size_bytes.unwrap_or(0);
    let (problem, detail) = match reading(objects.size_bytes(&key).await)? {
        None => (Problem::ObjectMissing, "its recording is stored, and the object is not there".to_owned()),
        Some(size) if i64::try_from(size) != Ok(expected) => {
            (Problem::ObjectSize, format!("the object has {size} bytes instead of {expected}"))
        }
        Some(_) if scope.deep => match reading(objects.sha256(&key).await)? {
            digest if digest == call.sha256 => return Ok(()),
            _ => (Problem::ObjectContent, "the object's bytes are not those that were stored".to_owned()),
        },
        Some(_) => return Ok(()),
    };
    let repaired = report.repairs() && refetch(scope, objects, (call.id, location, &key)).await?;
    report.found_and(Finding::of_call(problem, call.id, detail).object(location), repaired)
}

/// Moves what is left of the object out of the way and queues the recording. In this order: an object is never
/// replaced, so the fetch must find its name free.
async fn refetch(
    scope: &Scope,
    objects: &Objects,
    (call_id, location, key): (CallId, &str, &str),
) -> Result<bool, Failure> {
    reading(objects.set_aside(key).await)?;
    reading(scope.store.refetch_recording(call_id, location, Utc::now()).await)
}
