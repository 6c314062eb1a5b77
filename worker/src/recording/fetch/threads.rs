//! The threads that fetch: a runtime of their own, which may wait for the disk.
//!
//! Bytes are hashed and written on the thread that receives them: handing each piece to another thread costs more than
//! writing it. A slow disk holds up these threads, and nothing else in this process.

use std::io;

use tokio::runtime::Runtime;
use tokio_util::task::AbortOnDropHandle;

use crate::recording::failure::{Failure, Reason};

/// The threads; they end in the background when this is dropped.
#[derive(Debug)]
pub(super) struct Threads(Option<Runtime>);

impl Threads {
    /// As many as there are processors.
    pub(super) fn start() -> io::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Ok(Self(Some(builder.thread_name("callvine-fetch").enable_all().build()?)))
    }

    /// Runs a transfer there. It ends when the returned future is dropped.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        transfer: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let ended = || Failure::new(Reason::Storage, "the fetch ended before its time");
        let runtime = self.0.as_ref().ok_or_else(ended)?;
        // A panic is reported by its hook.
        AbortOnDropHandle::new(runtime.spawn(transfer)).await.unwrap_or_else(|_panicked| Err(ended()))
    }
}

impl Drop for Threads {
    /// Doesn't wait: this is dropped within another runtime, where waiting for one is not allowed.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
