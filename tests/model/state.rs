//! What there is, on disks and in memory.

use crate::system::Fault;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) calls: Vec<Call>,
    /// Kept sorted: its order says nothing.
    pub(crate) outbox: Vec<Row>,
    /// Messages in the worker's hands, kept sorted.
    pub(crate) hands: Vec<Hand>,
    pub(crate) faults: u8,
    /// Whether messages were lost that the broker had confirmed.
    pub(crate) is_queue_lost: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    pub(crate) gateway: Gateway,
    pub(crate) is_answered: bool,
    pub(crate) is_stored: bool,
    pub(crate) recording: Recording,
    /// The first settled state that it had.
    pub(crate) settled: Option<Recording>,
    pub(crate) is_leased: bool,
    pub(crate) attempts: u8,
    /// Fetches that ended, whether anybody counted them or not.
    pub(crate) tries: u8,
    /// Messages that wait in the workers' queue.
    pub(crate) waiting: u8,
    /// What subscribers have been told of.
    pub(crate) is_created_told: bool,
    pub(crate) is_settled_told: bool,
}

/// A call in the gateway's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Gateway {
    #[default]
    Nothing,
    Received,
    /// Committed, or with a bug answered: the other is still to be done.
    HalfDone,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Recording {
    #[default]
    Pending,
    Stored,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) call: usize,
    pub(crate) event: Event,
    pub(crate) at: RowAt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Event {
    Created,
    /// To the workers' queue alone, when nobody has the recording leased any more.
    Retry,
    Settled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum RowAt {
    Due,
    /// Sent by a relay; the broker has it in memory.
    Sent,
    /// On the broker's disk, which the relay knows.
    Confirmed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Hand {
    pub(crate) call: usize,
    pub(crate) step: Step,
    /// Whether the message is still the broker's to deliver again.
    pub(crate) is_unacknowledged: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Step {
    Taken,
    Leased,
    Fetched {
        is_good: bool,
    },
    /// Its effects are committed: only to be acknowledged.
    Done,
}

impl State {
    pub(crate) fn call(&mut self, id: usize) -> Option<&mut Call> {
        self.calls.get_mut(id)
    }

    /// Whether the fault makes a difference now. If not, it is no use to look at what follows from it.
    pub(crate) fn is_harmed_by(&self, fault: Fault) -> bool {
        let is_sent = |row: &Row| row.at == RowAt::Sent;
        let mut hands = self.hands.iter();
        match fault {
            Fault::GatewayCrashes => self.calls.iter().any(|call| call.gateway != Gateway::Nothing),
            Fault::RelayCrashes => self.outbox.iter().any(|row| row.at != RowAt::Due),
            Fault::BrokerCrashes => {
                self.outbox.iter().any(is_sent) || hands.any(|hand| hand.is_unacknowledged)
            }
            Fault::WorkerCrashes => !self.hands.is_empty(),
            Fault::WorkerStalls => hands.any(|hand| !matches!(hand.step, Step::Taken | Step::Done)),
            Fault::QueueIsLost => self.calls.iter().any(|call| call.waiting > 0),
        }
    }

    pub(crate) fn is_leased(&self, id: usize) -> bool {
        self.calls.get(id).is_some_and(|call| call.is_leased)
    }

    /// Whether a call with something left to be done is on its way: in the outbox, in the queue, or in somebody's hands.
    pub(crate) fn is_remembered(&self, id: usize) -> bool {
        let Some(call) = self.calls.get(id) else { return true };
        let is_in_outbox = |event| self.outbox.iter().any(|row| row.call == id && row.event == event);
        let is_in_hand = self.hands.iter().any(|hand| hand.call == id && hand.is_unacknowledged);
        let is_pending = call.is_stored && call.recording == Recording::Pending;
        let is_fetched = is_in_outbox(Event::Created) || is_in_outbox(Event::Retry) || is_in_hand;
        (!call.is_stored || call.is_created_told || is_in_outbox(Event::Created))
            && (!is_pending || call.waiting > 0 || is_fetched)
            && (call.settled.is_none() || call.is_settled_told || is_in_outbox(Event::Settled))
    }

    pub(crate) fn add_row(&mut self, call: usize, event: Event) {
        self.outbox.push(Row { call, event, at: RowAt::Due });
    }

    pub(crate) fn move_row(&mut self, row: Row, to: Option<RowAt>) {
        if let Some(found) = self.outbox.iter().position(|each| *each == row) {
            self.outbox.remove(found);
            self.outbox.extend(to.map(|at| Row { at, ..row }));
        }
    }

    pub(crate) fn move_hand(&mut self, hand: Hand, to: Option<Hand>) {
        if let Some(found) = self.hands.iter().position(|each| *each == hand) {
            self.hands.remove(found);
            self.hands.extend(to);
        }
    }

    /// On the broker's disk: in the workers' queue, or told to subscribers.
    pub(crate) fn deliver(&mut self, row: Row) -> Option<()> {
        let call = self.call(row.call)?;
        match row.event {
            Event::Created => {
                call.is_created_told = true;
                call.waiting += 1;
            }
            Event::Retry => call.waiting += 1,
            Event::Settled => call.is_settled_told = true,
        }
        Some(())
    }

    /// What the worker has in hand and did not acknowledge is the broker's again.
    pub(crate) fn give_back(&mut self, is_worker_gone: bool) -> Option<()> {
        for hand in std::mem::take(&mut self.hands) {
            if hand.is_unacknowledged {
                self.call(hand.call)?.waiting += 1;
            }
            let has_more_to_do = hand.step != Step::Done;
            if !is_worker_gone && has_more_to_do {
                self.hands.push(Hand { is_unacknowledged: false, ..hand });
            }
        }
        Some(())
    }

    /// The recording is stored or given up; what is so already stays as it is.
    pub(crate) fn settle(&mut self, id: usize, recording: Recording, overwrites: bool) -> Option<()> {
        let call = self.call(id)?;
        if call.recording == Recording::Pending || overwrites {
            call.recording = recording;
            call.settled = call.settled.or(Some(recording));
            call.is_leased = false;
            self.add_row(id, Event::Settled);
        }
        Some(())
    }
}

impl Call {
    pub(crate) fn is_done(&self) -> bool {
        self.is_answered && self.settled.is_some() && self.is_created_told && self.is_settled_told
    }
}
