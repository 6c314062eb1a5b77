//! The side of the parent: a pool of children, each of which reads one file at a time.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use serde_json::value::RawValue;

use super::answer::{Answer, Judged, Sound};
use super::budget::{ANALYSIS_TIMEOUT_MAX, Budget};
use super::inmate::Inmate;
use super::{AnalysisOrder, CellError, Death, Request, Work, analysis, frame};
use crate::metrics::{CELLS_KILLED, CELLS_RUNNING};

/// Pieces of work of one child. A start takes some milliseconds, so it costs next to nothing to put an end to whatever a
/// file may have left in a child.
const WORKS_MAX: u32 = 200;

/// There is one spare child for so many processors: a worker keeps as many spare permits to prove, for clients that have no
/// recording there, and such a permit must find a child although strangers' files hold all the others.
const PROCESSORS_PER_SPARE: usize = 4;

/// A pool of child processes: one for each processor and the spare ones, each started when it is first needed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cells(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    program: PathBuf,
    longest: Duration,
    /// Children at work: more of them would only take more memory.
    permits: Semaphore,
    /// Children without work: at most as many as there are permits.
    waiting: Mutex<Vec<Inmate>>,
}

impl Cells {
    /// A pool whose children are `program prove`, and in which no piece of work takes longer than `longest`.
    #[must_use]
    pub fn new(program: PathBuf, longest: Duration) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let children = processors + processors.div_ceil(PROCESSORS_PER_SPARE);
        Self(Arc::new(Shared {
            program,
            longest,
            permits: Semaphore::new(children),
            waiting: Mutex::new(Vec::with_capacity(children)),
        }))
    }

    /// A pool for so many analyses at once, whose children are `program prove` too. They give way to those of a worker.
    #[must_use]
    pub fn for_analyses(program: PathBuf, children: usize) -> Self {
        Self(Arc::new(Shared {
            program,
            longest: ANALYSIS_TIMEOUT_MAX,
            permits: Semaphore::new(children),
            waiting: Mutex::new(Vec::with_capacity(children)),
        }))
    }

    /// Proves in a child that a file of so many bytes is audio. The file should be open for reading alone. When the future is
    /// dropped, the child is killed.
    ///
    /// # Errors
    /// [`CellError`].
    pub async fn prove(&self, file: &File, size_bytes: u64) -> Result<Sound, CellError> {
        let request = Budget::of(size_bytes, self.0.longest).request(Work::Proof);
        self.asked(request, file, |json| Answer::judge(json, size_bytes)).await
    }

    /// Analyses in a child a proved file of so many bytes. The file should be open for reading alone. Returns the results, a JSON
    /// object. When the future is dropped, the child is killed.
    ///
    /// # Errors
    /// [`CellError`].
    pub async fn analyse(
        &self,
        file: &File,
        size_bytes: u64,
        order: AnalysisOrder,
    ) -> Result<Box<RawValue>, CellError> {
        let request = Budget::of_analysis(size_bytes, order.duration_seconds).request(Work::Analysis(order));
        self.asked(request, file, analysis::judge).await
    }

    /// Has a child do this work, counted while it is under way.
    async fn asked<T>(
        &self,
        request: Request,
        file: &File,
        judge: impl Fn(&[u8]) -> Option<Judged<T>>,
    ) -> Result<T, CellError> {
        let closed = |_| CellError::Unavailable(io::Error::other("the pool is closed"));
        let _permit = self.0.permits.acquire().await.map_err(closed)?;
        let _running = Running::new();
        let done = self.work(request, file, judge).await;
        if let Err(CellError::Killed(death)) = &done {
            counter!(CELLS_KILLED, "reason" => death.name()).increment(1);
        }
        done
    }

    async fn work<T>(
        &self,
        request: Request,
        file: &File,
        judge: impl Fn(&[u8]) -> Option<Judged<T>>,
    ) -> Result<T, CellError> {
        let deadline = Duration::from_secs(request.processor_seconds.saturating_sub(1));
        let request = frame::encode(&request).map_err(CellError::Unavailable)?;
        let mut inmate = self.inmate().map_err(CellError::Unavailable)?;
        let asked = timeout(deadline, inmate.ask(&request, file.as_fd())).await;
        match asked {
            Ok(Ok(json)) => match judge(&json) {
                Some((is_worn, result)) => {
                    if !is_worn && inmate.works < WORKS_MAX {
                        self.0.waiting.lock().push(inmate);
                    }
                    Ok(result?)
                }
                None => Err(killed(inmate, Death::Nonsense).await),
            },
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Err(killed(inmate, Death::Nonsense).await)
            }
            Ok(Err(error)) => match inmate.ended().await.map(Death::of) {
                Some(None) => Err(CellError::Unavailable(error)),
                Some(Some(death)) => Err(CellError::Killed(death)),
                None => Err(CellError::Killed(Death::Crash)),
            },
            Err(_elapsed) => Err(killed(inmate, Death::Deadline).await),
        }
    }

    /// A child that waits for work, or a new one.
    fn inmate(&self) -> io::Result<Inmate> {
        loop {
            let waiting = self.0.waiting.lock().pop();
            let Some(mut inmate) = waiting else { return Inmate::start(&self.0.program) };
            // One that has ended meanwhile, or said what nobody asked for, is dropped, and so killed.
            if inmate.is_waiting() {
                return Ok(inmate);
            }
        }
    }
}

async fn killed(inmate: Inmate, death: Death) -> CellError {
    inmate.kill().await;
    CellError::Killed(death)
}

/// Counts a piece of work while it is under way.
struct Running;

impl Running {
    fn new() -> Self {
        gauge!(CELLS_RUNNING).increment(1);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        gauge!(CELLS_RUNNING).decrement(1);
    }
}

#[cfg(test)]
mod tests;
