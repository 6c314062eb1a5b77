//! A recording's analysis by what ships in the program: leased, read in a cell, completed and announced; or attempted again
//! later; or given up.

mod failure;
mod settings;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callvine_shared::bus::Bus;
use callvine_shared::call::CallId;
use callvine_shared::cell::{AnalysisOrder, Cells};
use callvine_shared::objects::Objects;
use callvine_shared::queue::Queue;
use callvine_shared::retry::backoff;
use callvine_shared::store::{Answered, BegunAnalysis, RequestedAnalysis, Store, StoreError};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::failure::Failure;
pub use self::settings::{AgentChannel, Settings};
use crate::patience::while_unavailable;
use crate::{consume, lease, metrics};

/// Attempts at an analysis. The first waits are short, and the last attempt comes a quarter of an hour after the first: a
/// recording that can't be read by then needs a person.
const ATTEMPTS: u32 = 8;

/// The base of the waits between them.
const BACKOFF: Duration = Duration::from_secs(5);

/// The analyzer that ships with the program.
#[derive(Debug)]
pub struct Analyzer {
    analyses: Arc<Analyses>,
    concurrency: usize,
}

/// Everything that an analysis needs.
#[derive(Debug)]
struct Analyses {
    store: Store,
    objects: Objects,
    /// The processes in which recordings are analysed. They give way to those in which recordings are proved.
    cells: Cells,
    settings: Settings,
}

impl Analyzer {
    /// An analyzer with these settings, on this database and location of recordings. Its cells are `program prove`.
    #[must_use]
    pub fn new(settings: &Settings, store: Store, objects: Objects, program: PathBuf) -> Self {
        let concurrency = settings.concurrency();
        let cells = Cells::for_analyses(program, concurrency);
        let analyses = Analyses { store, objects, cells, settings: settings.clone() };
        Self { analyses: Arc::new(analyses), concurrency }
    }

    /// Analyses recordings until the shutdown; returns when those in hand are settled.
    pub async fn run(self, bus: Bus, shutdown: CancellationToken) {
        let prefetch = u16::try_from(self.concurrency).unwrap_or(u16::MAX);
        let consumer = bus.consume(Queue::Analysis, prefetch, shutdown.clone());
        let (analyses, ending) = (self.analyses, shutdown.clone());
        let handler = move |call_id| analyses.clone().process(call_id, ending.clone());
        consume::run(consumer, handler, Arc::new(Semaphore::new(self.concurrency)), shutdown).await;
    }
}

impl Analyses {
    /// Takes one step with a call's analysis, and commits it. May be called again for the same call at any time, also while
    /// it runs.
    ///
    /// # Errors
    /// [`StoreError`] when the step could not be committed. While the database is unavailable it waits, until the shutdown.
    async fn process(
        self: Arc<Self>,
        call_id: CallId,
        shutdown: CancellationToken,
    ) -> Result<(), StoreError> {
        let now = Utc::now();
        let begun = while_unavailable(&shutdown, || {
            let now = Utc::now();
            self.store.begin_analysis(call_id, now, lease::end(now))
        });
        match begun.await? {
            BegunAnalysis::Leased(analysis) => self.attempt(&analysis, &shutdown).await,
            // Its process may die, and this message may be the last one about it.
            BegunAnalysis::Busy(until) => self.look_again(call_id, lease::after(until), &shutdown).await,
            // Early: this message was published twice, or the clocks of two machines differ.
            BegunAnalysis::NotDue(at) => self.look_again(call_id, at.max(now), &shutdown).await,
            BegunAnalysis::Settled => Ok(()),
            BegunAnalysis::Unknown => {
                tracing::warn!(call.id = call_id.0, "no analysis of call {call_id} is requested");
                Ok(())
            }
        }
    }

    async fn attempt(
        &self,
        analysis: &RequestedAnalysis,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        let call_id = analysis.call_id;
        let renew = |until| self.store.renew_analysis_lease(call_id, until);
        let outcome = if analysis.attempts_counted >= ATTEMPTS {
            Err(Failure::used_up())
        } else {
            let started = Instant::now();
            let analysed = lease::hold(call_id, renew, self.analyse(analysis, shutdown)).await?;
            metrics::analysed(started.elapsed());
            analysed
        };
        match outcome {
            Ok(results) => self.completed(call_id, &results, shutdown).await,
            Err(failure) => self.failed(analysis, &failure, shutdown).await,
        }
    }

    async fn analyse(
        &self,
        analysis: &RequestedAnalysis,
        shutdown: &CancellationToken,
    ) -> Result<Result<Box<RawValue>, Failure>, StoreError> {
        let recording = &analysis.recording;
        let object = match self.objects.open_object(&recording.location, recording.size_bytes).await {
            Ok(object) => object,
            Err(error) => return Ok(Err(Failure::not_opened(analysis.call_id, &error))),
        };
        while_unavailable(shutdown, || self.store.count_analysis_attempt(analysis.call_id)).await?;
        let order = AnalysisOrder {
            duration_seconds: recording.duration_seconds,
            call_seconds: u32::try_from((analysis.end_time - analysis.start_time).num_seconds())
                .unwrap_or(u32::MAX),
            agent_channel: self.settings.agent_channel.index(),
            keeps_digits: self.settings.keep_digits,
        };
        let analysed = self.cells.analyse(&object.file, recording.size_bytes, order).await;
        Ok(analysed.map_err(|error| Failure::of_cell(analysis.call_id, error)))
    }

    async fn completed(
        &self,
        call_id: CallId,
        results: &RawValue,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        let answered = Answered { results, version: Some(env!("CARGO_PKG_VERSION")) };
        while_unavailable(shutdown, || self.store.analysis_completed(call_id, answered, Utc::now())).await?;
        metrics::analysis_settled("completed");
        tracing::info!(call.id = call_id.0, "analysed the recording of call {call_id}");
        Ok(())
    }

    async fn failed(
        &self,
        analysis: &RequestedAnalysis,
        failure: &Failure,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        let (call_id, cause, reason) = (analysis.call_id, failure.cause(), failure.reason);
        let attempt = analysis.attempts_counted + 1;
        if failure.is_final || attempt >= ATTEMPTS {
            while_unavailable(shutdown, || self.store.analysis_failed(call_id, cause, Utc::now())).await?;
            metrics::analysis_settled("failed");
            tracing::warn!(call.id = call_id.0, attempt, reason, "gave up the analysis of call {call_id}");
        } else {
            let (now, wait) = (Utc::now(), backoff(BACKOFF, attempt));
            let at = now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::zero());
            while_unavailable(shutdown, || self.store.postpone_analysis(call_id, cause, at, now)).await?;
            metrics::analysis_settled("retried");
            tracing::info!(
                call.id = call_id.0,
                attempt,
                reason,
                "analysing call {call_id} again in {wait:?}"
            );
        }
        Ok(())
    }

    /// Queues another message for `at`, without counting an attempt.
    async fn look_again(
        &self,
        call_id: CallId,
        at: DateTime<Utc>,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        while_unavailable(shutdown, || self.store.defer_analysis(call_id, at, Utc::now())).await
    }
}
