//! Finds what the messages are about that ended in a dead-letter queue because no consumer could deal with them.

use std::collections::BTreeSet;

use callvine_shared::bus::{self, BusError};
use callvine_shared::queue::Queue;
use callvine_shared::store::{DeadLetter, DeadLetterId, Store, StoreError};

use super::sweep::Message;

/// What was found in one dead-letter queue, beside the dead letters themselves.
#[derive(Default)]
pub(super) struct Unread {
    /// What waits although no consumer has a message about it, each once, by its call's id.
    pub(super) letters: Vec<DeadLetter>,
    /// Messages that are none of our events.
    pub(super) foreign: u64,
}

/// Looks through a dead-letter queue. With RabbitMQ that puts each message back behind the others, as a retry does: there
/// is no way to look at a message without taking it, and handing it back counts against it (see [`bus::sweep`]).
pub(super) async fn look_through(
    store: &Store,
    amqp_url: Option<&str>,
    queue: Queue,
) -> Result<Unread, BusError> {
    let mut unread = Unread::default();
    let mut ids: BTreeSet<DeadLetterId> = BTreeSet::new();
    let mut note = |body: &[u8]| match Message::read(queue, body) {
        Some(message) => drop(ids.insert(message.id)),
        None => unread.foreign += 1,
    };
    match amqp_url {
        Some(url) => {
            let stays = async |body: &[u8]| {
                note(body);
                false
            };
            bus::sweep(url, queue, stays).await?;
        }
        None => read_rows(store, queue, note).await?,
    }
    for id in ids {
        unread.letters.extend(store.unsettled(id).await?);
    }
    Ok(unread)
}

async fn read_rows(store: &Store, queue: Queue, mut note: impl FnMut(&[u8])) -> Result<(), StoreError> {
    let mut last = 0;
    loop {
        let rows = store.deliveries_in(queue, last).await?;
        let Some((end, _)) = rows.last() else { return Ok(()) };
        last = *end;
        rows.iter().for_each(|(_, body)| note(body.as_bytes()));
    }
}
