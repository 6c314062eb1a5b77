//! Another attempt for dead letters: queues them again, and clears their queues of messages that no longer hold.

use std::collections::HashSet;
use std::io;

use callvine_shared::call::CallId;
use callvine_shared::store::{DeadLetterId, DeadLetterKind, Retried};
use chrono::Utc;

use super::message::Message;
use super::{DeadLetters, DeadLettersError, queue_of};
use crate::requeue::requeue;

/// The dead letters that are to be attempted again.
#[derive(Clone, Debug)]
pub enum Selection {
    /// These.
    These(Vec<DeadLetterId>),
    /// All, and the messages in the dead-letter queues that no consumer could deal with.
    All,
}

/// The outcome of a retry.
#[derive(Debug, Default)]
pub struct Retry {
    /// How many were queued again.
    pub queued: u64,
    /// How many ids name no recording and no analysis.
    pub unknown: u64,
    /// Why messages that no longer hold may still be in the dead-letter queues. They do no harm, and the next retry
    /// removes them; but what is pending and has only such a message was not queued again.
    pub unswept: Option<DeadLettersError>,
}

/// The caller's function, which is told of each id and what became of it.
type Sink<'a> = &'a mut (dyn FnMut(DeadLetterId, Retried) -> io::Result<()> + Send);

/// A retry under way.
struct Progress<'a> {
    /// Whether all messages that no consumer could deal with are queued again.
    revives_all: bool,
    /// Pending, so not given up: queued again if a message about it is in its dead-letter queue, since then no consumer
    /// has it.
    wanted: HashSet<DeadLetterId>,
    /// Queued again; a message about it in a dead-letter queue no longer holds.
    retried: HashSet<DeadLetterId>,
    outcome: Retry,
    sink: Sink<'a>,
}

impl DeadLetters {
    /// Queues dead letters again, each from the step that failed and with as many attempts as a new one; `sink` is told
    /// of each as soon as it is done. The running system does the rest within seconds.
    ///
    /// Memory holds a page of dead letters and the ids that were queued again, 16 bytes each.
    ///
    /// # Errors
    /// [`DeadLettersError`] when the database can't be read or written, and the sink's own. Dead letters that were
    /// reported until then are queued, and stay so.
    pub async fn retry(&self, selection: Selection, sink: Sink<'_>) -> Result<Retry, DeadLettersError> {
        let mut progress = Progress {
            revives_all: matches!(selection, Selection::All),
            wanted: HashSet::new(),
            retried: HashSet::new(),
            outcome: Retry::default(),
            sink,
        };
        let mut pending = Vec::new();
        match selection {
            Selection::All => self.retry_all(&mut progress).await?,
            Selection::These(ids) => {
                for id in ids {
                    let retried = self.retry_one(id).await?;
                    if retried == Retried::NotFailed && self.store.unsettled(id).await?.is_some() {
                        progress.wanted.insert(id);
                        pending.push(id);
                    } else {
                        progress.note(id, retried)?;
                    }
                }
            }
        }
        match self.sweep(&mut progress).await {
            Ok(()) => {}
            Err(error @ DeadLettersError::Sink(_)) => return Err(error),
            Err(error) => progress.outcome.unswept = Some(error),
        }
        for id in pending.into_iter().filter(|id| progress.wanted.contains(id)) {
            (progress.sink)(id, Retried::NotFailed).map_err(DeadLettersError::Sink)?;
        }
        Ok(progress.outcome)
    }

    async fn retry_all(&self, progress: &mut Progress<'_>) -> Result<(), DeadLettersError> {
        for kind in Self::KINDS {
            let mut pages = self.pages(kind, CallId(0));
            while let Some(letters) = pages.next().await? {
                for letter in letters {
                    let retried = self.retry_one(letter.id).await?;
                    progress.note(letter.id, retried)?;
                }
            }
        }
        Ok(())
    }

    async fn retry_one(&self, id: DeadLetterId) -> Result<Retried, DeadLettersError> {
        self.store.retry_dead_letter(id, Utc::now()).await.map_err(DeadLettersError::Requeue)
    }

    /// Goes once through both dead-letter queues, if that can change anything.
    async fn sweep(&self, progress: &mut Progress<'_>) -> Result<(), DeadLettersError> {
        if !progress.revives_all && progress.wanted.is_empty() && progress.retried.is_empty() {
            return Ok(());
        }
        for kind in Self::KINDS {
            let mut sweep = self.queues.sweep(queue_of(kind)).await?;
            while let Some(body) = sweep.next().await? {
                match self.is_needless(kind, body, progress).await {
                    Ok(false) => {}
                    Ok(true) => sweep.remove().await?,
                    Err(error) => {
                        sweep.close().await?;
                        return Err(error);
                    }
                }
            }
            sweep.close().await?;
        }
        Ok(())
    }

    /// Whether a message no longer holds. Queues again what has no other message, if that is wanted.
    async fn is_needless(
        &self,
        kind: DeadLetterKind,
        body: &[u8],
        progress: &mut Progress<'_>,
    ) -> Result<bool, DeadLettersError> {
        // A message that is none of ours is for a person to look at.
        let Some(Message { id, event_id, is_failure }) = Message::read(kind, body) else {
            return Ok(false);
        };
        if is_failure {
            let standing = self.store.failed_event_id(id.call_id).await?;
            return Ok(standing.is_none_or(|standing| standing.to_string() != event_id));
        }
        if progress.retried.contains(&id) {
            return Ok(true);
        }
        let revives = progress.revives_all || progress.wanted.contains(&id);
        if !revives || self.store.dead_letter(id).await?.is_some() {
            return Ok(false);
        }
        // Where nothing is queued, it is settled or under way: the message is needless all the more.
        if requeue(&self.store, id).await.map_err(DeadLettersError::Requeue)? {
            progress.wanted.remove(&id);
            progress.note(id, Retried::Queued)?;
        }
        Ok(true)
    }
}

impl Progress<'_> {
    fn note(&mut self, id: DeadLetterId, retried: Retried) -> Result<(), DeadLettersError> {
        match retried {
            Retried::Queued => {
                self.outcome.queued += 1;
                self.retried.insert(id);
            }
            Retried::Unknown => self.outcome.unknown += 1,
            Retried::NotFailed => {}
        }
        (self.sink)(id, retried).map_err(DeadLettersError::Sink)
    }
}
