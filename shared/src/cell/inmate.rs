//! One child process as the parent sees it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::frame::{self, HEAD_BYTES};

/// The hidden command of this program that serves as a child.
const COMMAND: &str = "prove";

/// The allocator's own variable, the only one of a child's environment: memory counts against its limit when it is used, not
/// in reserves of 1 GiB that are made before the limit is set.
const ALLOCATOR: (&str, &str) = ("MIMALLOC_ARENA_EAGER_COMMIT", "0");

/// Longest wait for the end of a child that was killed or has closed its socket. The kernel takes its memory down first.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// A child that runs. Dropping it kills it, and the runtime reaps it.
#[derive(Debug)]
pub(super) struct Inmate {
    child: Child,
    socket: UnixStream,
    /// Pieces of work so far.
    pub(super) works: u32,
}

impl Inmate {
    /// Starts a child. It dies with the thread that starts it, so this belongs on the runtime's own threads, which live as
    /// long as the process.
    pub(super) fn start(program: &Path) -> io::Result<Self> {
        let (parent, child) = std::os::unix::net::UnixStream::pair()?;
        parent.set_nonblocking(true)?;
        let spawned = Command::new(program)
            .arg0("callvine")
            .arg(COMMAND)
            .env_clear()
            .env(ALLOCATOR.0, ALLOCATOR.1)
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(child)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child: spawned, socket: UnixStream::from_std(parent)?, works: 0 })
    }

    /// Whether it runs and is silent, as one that waits for work does.
    pub(super) fn is_waiting(&mut self) -> bool {
        let is_silent = matches!(
            self.socket.try_read(&mut [0]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock
        );
        is_silent && matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a request with a file, and waits for the answer.
    ///
    /// # Errors
    /// `InvalidData` where the answer is too long; others where the child has ended.
    pub(super) async fn ask(&mut self, request: &[u8], file: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
        self.works += 1;
        let send = || frame::send_with_file(self.socket.as_fd(), request, file);
        self.socket.async_io(Interest::WRITABLE, send).await?;
        let mut head = [0; HEAD_BYTES];
        self.socket.read_exact(&mut head).await?;
        let mut answer = vec![0; frame::length(head)?];
        self.socket.read_exact(&mut answer).await?;
        Ok(answer)
    }

    /// Kills it, with whatever it has started, and waits until it is gone.
    pub(super) async fn kill(mut self) {
        self.kill_group();
        self.reap().await;
    }

    /// Waits for the end of a child that has closed its socket, and kills it where it does not come.
    pub(super) async fn ended(mut self) -> Option<ExitStatus> {
        let status = self.reap().await;
        self.kill_group();
        status
    }

    async fn reap(&mut self) -> Option<ExitStatus> {
        tokio::time::timeout(END_TIMEOUT, self.child.wait()).await.ok()?.ok()
    }

    fn kill_group(&self) {
        // No id: it was reaped, and the id may be another's.
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid
            && let Err(error) = kill_process_group(pid, Signal::KILL)
        {
            tracing::debug!(%error, "a child that reads recordings has gone before it was killed");
        }
    }
}

impl Drop for Inmate {
    fn drop(&mut self) {
        self.kill_group();
    }
}
