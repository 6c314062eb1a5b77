//! Why an attempt at an analysis failed, and whether another one is worth it.

use std::borrow::Cow;

use callvine_shared::call::CallId;
use callvine_shared::cell::CellError;
use callvine_shared::error_chain::Chain;
use callvine_shared::objects::ObjectsError;
use callvine_shared::store::AnalysisCause;

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    /// The published reason.
    pub(super) reason: &'static str,
    /// The error, for people.
    detail: Cow<'static, str>,
    /// Whether another attempt would fail as well.
    pub(super) is_final: bool,
}

impl Failure {
    /// Every attempt is counted although the analysis is requested: the last one has ended its process.
    pub(super) fn used_up() -> Self {
        Self { reason: "crash", detail: "every attempt has ended its process".into(), is_final: true }
    }

    pub(super) fn not_opened(call_id: CallId, error: &ObjectsError) -> Self {
        let is_final = matches!(error, ObjectsError::Missing);
        if !is_final {
            tracing::warn!(call.id = call_id.0, error = %Chain(error), "the recording of call {call_id} can't be opened");
        }
        let reason = if is_final { "missing" } else { "storage" };
        Self { reason, detail: error.to_string().into(), is_final }
    }

    /// A recording that kills its reader is read again: the machine may have been short of time or memory.
    pub(super) fn of_cell(call_id: CallId, error: CellError) -> Self {
        match error {
            CellError::Refused(refusal) => {
                Self { reason: "unreadable", detail: refusal.to_string().into(), is_final: true }
            }
            CellError::Killed(death) => {
                tracing::warn!(
                    call.id = call_id.0,
                    reason = death.name(),
                    "the analysis of call {call_id} was killed in its cell: {death}"
                );
                let reason = if death.is_timeout() { "timeout" } else { "crash" };
                Self { reason, detail: death.to_string().into(), is_final: false }
            }
            CellError::Unavailable(error) => {
                tracing::error!(%error, "no process that analyses recordings can be started");
                Self {
                    reason: "storage",
                    detail: "the recording can't be read at the moment".into(),
                    is_final: false,
                }
            }
        }
    }

    pub(super) fn cause(&self) -> AnalysisCause<'_> {
        AnalysisCause { reason: self.reason, last_error: &self.detail }
    }
}
