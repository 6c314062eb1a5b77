//! An analysis of a recording: the states that it goes through, and the results of Callvine's own.

use crate::names::named;

pub mod results;
mod words;

pub use words::summary;

/// The state of an analysis that was requested at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It waits for an analyzer's answer.
    Requested,
    /// An analyzer has answered.
    Completed,
    /// It was given up.
    Failed,
}

named!(Status, "state of an analysis", {
    Requested => "requested",
    Completed => "completed",
    Failed => "failed",
});
