//! Strangers' recordings are read in cells: child processes of this program, without rights, within bounds of memory and
//! time. A recording that breaks its reader ends a child, and nothing else.
//!
//! [`Cells`] is the side of the parent, [`serve`] that of the child (`callvine prove`). One socket joins them: the child's
//! standard input. A request goes down it with the recording's open file, and an answer comes back. The parent believes
//! nothing in it that it can judge: see `answer.rs`.

mod analysis;
mod answer;
mod budget;
mod child;
mod frame;
mod inmate;
mod pool;
mod walls;

use std::io;
use std::process::ExitStatus;

use serde::{Deserialize, Serialize};

pub use answer::Sound;
pub use budget::{ANALYSIS_TIMEOUT_MAX, PROOF_TIMEOUT_MAX};
pub use child::serve;
pub use pool::Cells;

/// The kind of work that a cell is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Work {
    /// Prove that a file is audio, and draw its waveform.
    Proof,
    /// Measure what can be heard in a proved file.
    Analysis(AnalysisOrder),
}

/// The facts and wishes beside a recording that is to be analysed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnalysisOrder {
    /// The recording's length, as its proof has found it.
    pub duration_seconds: f64,
    /// The call's own length, from its start to its end.
    pub call_seconds: u32,
    /// The channel in which the agent speaks, where there are two: 0 or 1.
    pub agent_channel: u8,
    /// Whether the results name the digits that were keyed in.
    pub keeps_digits: bool,
}

/// A request, beside which the recording's open file goes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Request {
    work: Work,
    /// Writable memory that the child may add to its own.
    memory_bytes: u64,
    /// Processor time that it may take.
    processor_seconds: u64,
}

/// Why a cell gave no facts.
#[derive(Debug, thiserror::Error)]
pub enum CellError {
    /// The file is no recording.
    #[error(transparent)]
    Refused(#[from] callvine_audio::Refusal),
    /// The child ended, or was killed, while it read the file.
    #[error("{0}")]
    Killed(Death),
    /// There is no child: the system starts none, or the child could not limit itself.
    #[error("cannot start a process that reads recordings")]
    Unavailable(#[source] io::Error),
}

/// The end of a child before its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Death {
    /// It was killed at the deadline.
    #[error("reading the recording took longer than a file of its size may")]
    Deadline,
    /// The kernel ended it: its processor time was used up.
    #[error("reading the recording took more processor time than a file of its size may")]
    ProcessorTime,
    /// It gave up by itself, as Rust programs do without memory.
    #[error("reading the recording took more memory than a file of its size may")]
    Memory,
    /// It was ended by another signal, or by a bug.
    #[error("the recording breaks its reader")]
    Crash,
    /// It answered what no reader of ours answers, and was killed.
    #[error("the recording's reader gave an impossible answer")]
    Nonsense,
}

impl Death {
    /// The name in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::ProcessorTime => "processor_time",
            Self::Memory => "memory",
            Self::Crash => "crash",
            Self::Nonsense => "nonsense",
        }
    }

    /// Whether the file took too long, rather than too much.
    #[must_use]
    pub const fn is_timeout(self) -> bool {
        matches!(self, Self::Deadline | Self::ProcessorTime)
    }

    /// The cause of an end that the parent has not brought about; `None` where the child ended by itself, in order.
    fn of(status: ExitStatus) -> Option<Self> {
        use rustix::process::Signal;
        use std::os::unix::process::ExitStatusExt;
        match (status.code(), status.signal().and_then(Signal::from_named_raw)) {
            // The exit code of a panic.
            (Some(101), _) => Some(Self::Crash),
            (Some(_), _) => None,
            (None, Some(Signal::ABORT)) => Some(Self::Memory),
            (None, Some(Signal::XCPU)) => Some(Self::ProcessorTime),
            (None, _) => Some(Self::Crash),
        }
    }
}
