//! Permits shared out among clients: each client has a queue, and the queues take turns.
//!
//! A few spare permits go only to clients that hold none, so that a client which fills the others keeps nobody waiting. A
//! client that waits all the same has slow transfers of clients that hold more than their share ended
//! ([`super::work::Work`]). Nothing is ended while nobody waits.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::work::Work;

/// A client that has waited for so long has the slowest transfer ended, and another one each time that this has passed
/// again. Longer than a good recording of telephone length takes.
pub(super) const END_EVERY: Duration = Duration::from_secs(2);

/// So many permits more than the client that waits has to hold whoever loses a transfer. With one more, the two would take
/// the permit from each other in turns.
const AHEAD_BY: usize = 2;

/// Permits of one kind. Whoever waits is bounded by the caller: by the recordings that a worker has in hand.
#[derive(Debug)]
pub(super) struct Shares {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Permits for everybody.
    permits: usize,
    /// Permits beside those, for clients that hold none.
    spare: usize,
    /// The next waiter or permit.
    next_id: u64,
    /// The work that each permit is used for.
    holders: HashMap<u64, Arc<Work>>,
    /// How many each client holds; clients that hold none aren't here.
    held: HashMap<String, usize>,
    /// The clients that wait, in the order of their turns.
    turns: VecDeque<String>,
    /// Those that wait, first come first served within a client. Every client of `turns` has one.
    queues: HashMap<String, VecDeque<Waiter>>,
    /// When a transfer was last ended for somebody who waits.
    ended_at: Option<Instant>,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    work: Arc<Work>,
    granted: oneshot::Sender<()>,
}

/// A permit, or the wait for one. Dropped, it is given back, or leaves the queue.
#[derive(Debug)]
#[must_use = "the permit is given back when this is dropped"]
pub(super) struct Permit {
    shares: Arc<Shares>,
    id: u64,
    work: Arc<Work>,
}

impl Shares {
    /// So many permits for everybody, and so many beside for clients that hold none.
    pub(super) fn new(permits: usize, spare: usize) -> Arc<Self> {
        let state = State {
            permits,
            spare,
            next_id: 0,
            holders: HashMap::new(),
            held: HashMap::new(),
            turns: VecDeque::new(),
            queues: HashMap::new(),
            ended_at: None,
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Waits until it is the turn of this work's client. Cancel-safe.
    pub(super) async fn permit(self: &Arc<Self>, work: &Arc<Work>) -> Permit {
        let (id, mut granted) = self.state.lock().enqueue(work);
        let permit = Permit { shares: Arc::clone(self), id, work: Arc::clone(work) };
        let mut ticks = interval_at(Instant::now() + END_EVERY, END_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = &mut granted => return permit,
                _ = ticks.tick() => self.state.lock().end_slowest(work.client(), Instant::now()),
            }
        }
    }
}

impl State {
    fn enqueue(&mut self, work: &Arc<Work>) -> (u64, oneshot::Receiver<()>) {
        let id = self.next_id;
        self.next_id += 1;
        let (granted, receiver) = oneshot::channel();
        let client = work.client();
        let queue = self.queues.entry(client.to_owned()).or_default();
        if queue.is_empty() {
            self.turns.push_back(client.to_owned());
        }
        queue.push_back(Waiter { id, work: Arc::clone(work), granted });
        self.grant();
        (id, receiver)
    }

    /// Grants what there is, a permit a turn.
    fn grant(&mut self) {
        while let Some(turn) = self.next_turn() {
            let Some(client) = self.turns.remove(turn) else { return };
            let Some(queue) = self.queues.get_mut(&client) else { continue };
            let Some(Waiter { id, work, granted }) = queue.pop_front() else { continue };
            if queue.is_empty() {
                self.queues.remove(&client);
            } else {
                self.turns.push_back(client.clone());
            }
            self.holders.insert(id, work);
            *self.held.entry(client).or_default() += 1;
            // Where the wait is being dropped meanwhile, its drop gives the permit back.
            granted.send(()).ok();
        }
    }

    /// The place among the turns of the client that may have a permit now.
    fn next_turn(&self) -> Option<usize> {
        let in_use = self.holders.len();
        if in_use < self.permits {
            return (!self.turns.is_empty()).then_some(0);
        }
        if in_use < self.permits + self.spare {
            return self.turns.iter().position(|client| !self.held.contains_key(client));
        }
        None
    }

    /// Takes back a permit, or a wait for one.
    fn take_back(&mut self, id: u64, client: &str) {
        if self.holders.remove(&id).is_some() {
            if let Some(held) = self.held.get_mut(client) {
                *held -= 1;
                if *held == 0 {
                    self.held.remove(client);
                }
            }
            self.grant();
        } else if let Some(queue) = self.queues.get_mut(client) {
            queue.retain(|waiter| waiter.id != id);
            if queue.is_empty() {
                self.queues.remove(client);
                self.turns.retain(|turn| turn != client);
            }
        }
    }

    /// Ends the slowest transfer of the clients that hold [`AHEAD_BY`] permits more than this one, which waits; at most one
    /// in [`END_EVERY`], whoever waits.
    fn end_slowest(&mut self, waiting: &str, now: Instant) {
        // Ticks of one length drift apart a little.
        if self.ended_at.is_some_and(|at| now.duration_since(at) < END_EVERY / 2) {
            return;
        }
        let held = |client: &str| self.held.get(client).copied().unwrap_or(0);
        let own = held(waiting);
        let others = self.holders.values().filter(|work| held(work.client()) >= own + AHEAD_BY);
        let slow = others.filter_map(|work| Some((work.slow_rate(now)?, work)));
        if let Some((_, slowest)) = slow.min_by_key(|(rate, _)| *rate) {
            slowest.end();
            self.ended_at = Some(now);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shares.state.lock().take_back(self.id, self.work.client());
    }
}

#[cfg(test)]
mod tests;
