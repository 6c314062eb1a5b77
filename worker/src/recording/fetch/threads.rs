//! The threads that fetch: a runtime of their own, which may wait for the disk.
//!
//! What arrives is hashed and written where it arrives. Handing each piece to another thread, which waits for the disk in
//! our stead, costs more than the writing; and a slow disk must not hold up whatever else this process does.

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
    /// A runtime can't be waited for where this is dropped, which is another runtime.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
