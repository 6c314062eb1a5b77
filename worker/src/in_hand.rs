//! The recordings that this worker has in hand, by client, and the messages that it may still take.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// While at most one in so many messages may still be taken, the hand counts as full: a few permits are always on their way
/// from one message to the next.
const FULL_BELOW: usize = 4;

/// The messages and recordings that a worker has in hand. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct InHand {
    /// A permit for each message that may still be taken from the queue.
    pub(crate) messages: Arc<Semaphore>,
    /// How many messages that is at most.
    most: usize,
    /// The recordings of each client, also those that were taken past the queue.
    clients: Arc<Mutex<HashMap<String, usize>>>,
}

/// A recording in hand, until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted<'a> {
    in_hand: &'a InHand,
    client: &'a str,
}

impl InHand {
    /// Room for so many messages.
    pub(crate) fn new(messages: usize) -> Self {
        Self { messages: Arc::new(Semaphore::new(messages)), most: messages, clients: Arc::default() }
    }

    /// Whether hardly a message can be taken: the queue moves only as fast as those in hand are settled.
    pub(crate) fn is_full(&self) -> bool {
        self.messages.available_permits() <= self.most / FULL_BELOW
    }

    /// Counts a recording of this client.
    pub(crate) fn count<'a>(&'a self, client: &'a str) -> Counted<'a> {
        *self.clients.lock().entry(client.to_owned()).or_default() += 1;
        Counted { in_hand: self, client }
    }

    /// Whether this client has its share in hand, or more: what it would have if one client more had recordings there, and
    /// all had the same.
    pub(crate) fn has_its_share(&self, client: &str) -> bool {
        let clients = self.clients.lock();
        let all: usize = clients.values().sum();
        let own = clients.get(client).copied().unwrap_or(0);
        own > 0 && own * (clients.len() + 1) >= all
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut clients = self.in_hand.clients.lock();
        if let Some(own) = clients.get_mut(self.client) {
            *own -= 1;
            if *own == 0 {
                clients.remove(self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_share_when_another_could_not_have_as_much() {
        let in_hand = InHand::new(8);
        let flood: Vec<_> = (0..8).map(|_| in_hand.count("flood")).collect();
        assert!(in_hand.has_its_share("flood") && !in_hand.has_its_share("quiet"));
        let quiet = in_hand.count("quiet");
        assert!(in_hand.has_its_share("flood") && !in_hand.has_its_share("quiet"));
        let more = [in_hand.count("quiet"), in_hand.count("quiet"), in_hand.count("quiet")];
        assert!(in_hand.has_its_share("quiet"), "four of twelve, between three");
        drop((flood, quiet, more));
        assert!(in_hand.clients.lock().is_empty());
    }
}
