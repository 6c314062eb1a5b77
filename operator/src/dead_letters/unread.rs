//! Messages that ended in a dead-letter queue because no consumer could deal with them.

use std::collections::BTreeMap;

use callvine_shared::store::{DeadLetter, DeadLetterId, DeadLetterKind};

use super::message::Message;
use super::{DeadLetters, DeadLettersError, queue_of};

/// Most of them that are found at once: some megabytes. A retry of all makes room for more.
pub const UNREAD_MAX: usize = 10_000;

/// The explanation for a recording or an analysis that nobody gave up and that has no error of its own.
const NO_CONSUMER: &str = "no consumer could deal with its message";

/// The content of one dead-letter queue beside the dead letters themselves.
#[derive(Debug, Default)]
pub struct Unread {
    /// Recordings and analyses that wait although no consumer has a message about them, each once, by their call's id; at
    /// most [`UNREAD_MAX`].
    pub letters: Vec<DeadLetter>,
    /// Messages that are none of our events.
    pub foreign: u64,
}

impl DeadLetters {
    /// Looks through a dead-letter queue if it holds more than `explained` messages, the number of the dead letters:
    /// most often there is one message for each.
    ///
    /// With a broker, that puts each message back behind the others, as a retry does (see
    /// [`callvine_shared::bus::Sweep`]).
    ///
    /// # Errors
    /// [`DeadLettersError::Queues`] when the broker can't be asked, [`DeadLettersError::Store`] when the database can't.
    pub async fn unread(&self, kind: DeadLetterKind, explained: u64) -> Result<Unread, DeadLettersError> {
        let queue = queue_of(kind);
        let depths = self.queues.depths().await?;
        let depth = depths.into_iter().find(|(each, _)| *each == queue).and_then(|(_, depth)| depth);
        if depth.is_none_or(|depth| depth.ready <= explained) {
            return Ok(Unread::default());
        }
        let mut unread = Unread::default();
        let mut found: BTreeMap<DeadLetterId, DeadLetter> = BTreeMap::new();
        let mut sweep = self.queues.sweep(queue).await?;
        while let Some(body) = sweep.next().await? {
            let Some(Message { id, .. }) = Message::read(kind, body) else {
                unread.foreign += 1;
                continue;
            };
            if found.len() >= UNREAD_MAX || found.contains_key(&id) {
                continue;
            }
            match self.store.unsettled(id).await {
                Ok(None) => {}
                Ok(Some(mut letter)) => {
                    letter.last_error.get_or_insert_with(|| NO_CONSUMER.to_owned());
                    found.insert(id, letter);
                }
                Err(error) => {
                    sweep.close().await?;
                    return Err(error.into());
                }
            }
        }
        sweep.close().await?;
        unread.letters = found.into_values().collect();
        Ok(unread)
    }
}
