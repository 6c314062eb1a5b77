//! Why a file is refused.

use std::borrow::Cow;
use std::io;

/// Why a file does not count as a recording. Whether another fetch could bring a better file is for the caller to judge.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is not audio, or not a kind of audio that is known here. The text says which, for people.
    #[error("{0}")]
    NotAudio(Cow<'static, str>),
    /// It is a text that is no longer than a page: a host's word about the recording in place of it, such as that it is not
    /// ready or that one must sign in. The text says which, for people.
    #[error("{0}")]
    Text(Cow<'static, str>),
    /// It is shorter than its header says.
    #[error("the recording's header promises more than there is")]
    Truncated,
    /// It has no samples.
    #[error("the recording has a header and no sound")]
    Empty,
    /// It could not be read: the disk failed.
    #[error("cannot read the file")]
    Unreadable(#[source] io::Error),
}

impl Refusal {
    pub(crate) fn not_audio(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::NotAudio(detail.into())
    }
}
