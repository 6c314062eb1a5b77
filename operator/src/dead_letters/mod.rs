//! Recordings and analyses that were given up, and another attempt for them.
//!
//! The tables are the truth about what was given up. The dead-letter queues are what an operator sees in the broker's
//! pages; a retry removes the messages that no longer hold.

mod message;
mod retry;
mod unread;

use std::io;

use callvine_shared::bus::{BusError, Queues};
use callvine_shared::call::CallId;
use callvine_shared::queue::Queue;
use callvine_shared::store::{DeadLetter, DeadLetterId, DeadLetterKind, Store, StoreError};

pub use self::retry::{Retry, Selection};
pub use self::unread::{UNREAD_MAX, Unread};
use crate::pages::Pages;

/// The dead letters of a system.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    store: Store,
    queues: Queues,
}

/// A walk through the dead letters of one kind, a page at a time.
pub struct DeadLetterPages<'a> {
    store: &'a Store,
    kind: DeadLetterKind,
    pages: Pages<CallId>,
}

impl DeadLetters {
    /// Both kinds, in the order in which they are listed.
    pub const KINDS: [DeadLetterKind; 2] = [DeadLetterKind::Recording, DeadLetterKind::Analysis];

    /// The dead letters in this database and these queues.
    #[must_use]
    pub fn new(store: Store, queues: Queues) -> Self {
        Self { store, queues }
    }

    /// Everything of this kind that was given up, of calls with an id above `after`, by id.
    #[must_use]
    pub fn pages(&self, kind: DeadLetterKind, after: CallId) -> DeadLetterPages<'_> {
        DeadLetterPages { store: &self.store, kind, pages: Pages::after(after) }
    }

    /// One dead letter, also of a recording or an analysis that is still pending, but whose message no consumer could
    /// deal with.
    ///
    /// # Errors
    /// [`DeadLettersError::NoDeadLetter`], or why it can't be found out.
    pub async fn show(&self, id: DeadLetterId) -> Result<DeadLetter, DeadLettersError> {
        if let Some(letter) = self.store.dead_letter(id).await? {
            return Ok(letter);
        }
        if self.store.unsettled(id).await?.is_some() {
            let unread = self.unread(id.kind, 0).await?;
            if let Some(letter) = unread.letters.into_iter().find(|letter| letter.id == id) {
                return Ok(letter);
            }
        }
        Err(DeadLettersError::NoDeadLetter(id))
    }
}

impl DeadLetterPages<'_> {
    /// The next page; `None`: that was all.
    ///
    /// # Errors
    /// [`DeadLettersError::Store`] when the database can't be read.
    pub async fn next(&mut self) -> Result<Option<Vec<DeadLetter>>, DeadLettersError> {
        let letters = self.store.dead_letters(self.kind, self.pages.last()).await?;
        Ok(self.pages.take(letters, |letter| letter.id.call_id))
    }
}

/// The queue of the dead letters of this kind.
#[must_use]
pub fn queue_of(kind: DeadLetterKind) -> Queue {
    match kind {
        DeadLetterKind::Recording => Queue::RecordingsDead,
        DeadLetterKind::Analysis => Queue::AnalysisDead,
    }
}

/// Why dead letters can't be dealt with.
#[derive(Debug, thiserror::Error)]
pub enum DeadLettersError {
    /// The database can't be read.
    #[error("cannot read the dead letters")]
    Store(#[from] StoreError),
    /// A recording or an analysis can't be queued.
    #[error("cannot queue it again")]
    Requeue(#[source] StoreError),
    /// The dead-letter queues can't be read, or can't be cleared.
    #[error(transparent)]
    Queues(BusError),
    /// Nothing of this id was given up.
    #[error("there is no dead letter {0} (see `callvine dead-letters list`)")]
    NoDeadLetter(DeadLetterId),
    /// The caller's function took no more reports.
    #[error("cannot report what was queued again")]
    Sink(#[source] io::Error),
}

impl From<BusError> for DeadLettersError {
    /// In-process delivery fails when the database does.
    fn from(error: BusError) -> Self {
        match error {
            BusError::Store(error) => Self::Store(error),
            error => Self::Queues(error),
        }
    }
}
