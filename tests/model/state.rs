//! The state of the model: everything on disks and in memory.

use crate::bag::{Bag, Kind};
use crate::system::Fault;

/// Calls in their order, which says nothing: two states that differ in it alone are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State<const CALLS: usize> {
    pub(crate) calls: [Call; CALLS],
    pub(crate) faults: u8,
    /// Whether messages were lost that the broker had confirmed.
    pub(crate) is_queue_lost: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Call {
    /// Whether the gateway has committed it and not answered yet, or with a bug the other way round. A call that it has
    /// received and done nothing with is as good as one that was not posted.
    pub(crate) is_half_done: bool,
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
    /// Rows of the outbox.
    pub(crate) rows: Bag<{ Row::ALL.len() }>,
    /// Messages in the worker's hands.
    pub(crate) hands: Bag<{ Hand::ALL.len() }>,
    /// Subscribers have got `call.created`.
    pub(crate) is_created_told: bool,
    /// Subscribers have got the event that settles the recording.
    pub(crate) is_settled_told: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Recording {
    #[default]
    Pending,
    Stored,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) event: Event,
    pub(crate) at: RowAt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Created,
    /// To the workers' queue alone, when nobody has the recording leased any more.
    Retry,
    Settled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowAt {
    Due,
    /// Sent by a relay; the broker has it in memory.
    Sent,
    /// On the broker's disk, which the relay knows.
    Confirmed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hand {
    pub(crate) step: Step,
    /// Whether the message is still the broker's to deliver again.
    pub(crate) is_unacknowledged: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Taken,
    Leased,
    Fetched,
    FetchFailed,
    /// Its effects are committed: only to be acknowledged.
    Done,
}

const EVENTS: [Event; 3] = [Event::Created, Event::Retry, Event::Settled];
const STEPS: [Step; 5] = [Step::Taken, Step::Leased, Step::Fetched, Step::FetchFailed, Step::Done];

impl Row {
    const fn new(event: Event, at: RowAt) -> Self {
        Self { event, at }
    }
}

impl Kind for Row {
    const ALL: &'static [Self] = &[
        Self::new(Event::Created, RowAt::Due),
        Self::new(Event::Created, RowAt::Sent),
        Self::new(Event::Created, RowAt::Confirmed),
        Self::new(Event::Retry, RowAt::Due),
        Self::new(Event::Retry, RowAt::Sent),
        Self::new(Event::Retry, RowAt::Confirmed),
        Self::new(Event::Settled, RowAt::Due),
        Self::new(Event::Settled, RowAt::Sent),
        Self::new(Event::Settled, RowAt::Confirmed),
    ];

    fn number(self) -> usize {
        self.event as usize * 3 + self.at as usize
    }
}

impl Hand {
    const fn new(step: Step, is_unacknowledged: bool) -> Self {
        Self { step, is_unacknowledged }
    }
}

impl Kind for Hand {
    const ALL: &'static [Self] = &[
        Self::new(Step::Taken, false),
        Self::new(Step::Taken, true),
        Self::new(Step::Leased, false),
        Self::new(Step::Leased, true),
        Self::new(Step::Fetched, false),
        Self::new(Step::Fetched, true),
        Self::new(Step::FetchFailed, false),
        Self::new(Step::FetchFailed, true),
        Self::new(Step::Done, false),
        Self::new(Step::Done, true),
    ];

    fn number(self) -> usize {
        self.step as usize * 2 + usize::from(self.is_unacknowledged)
    }
}

impl<const CALLS: usize> State<CALLS> {
    pub(crate) fn call(&mut self, id: usize) -> Option<&mut Call> {
        self.calls.get_mut(id)
    }

    /// Whether the fault makes a difference now. If not, it is no use to look at what follows from it.
    pub(crate) fn is_harmed_by(&self, fault: Fault) -> bool {
        self.calls.iter().any(|call| call.is_harmed_by(fault))
    }

    /// Messages in the worker's hands.
    pub(crate) fn in_hand(&self) -> u8 {
        self.calls.iter().map(|call| call.hands.total()).sum()
    }
}

impl Call {
    pub(crate) fn is_done(&self) -> bool {
        self.is_answered && self.settled.is_some() && self.is_created_told && self.is_settled_told
    }

    fn is_harmed_by(&self, fault: Fault) -> bool {
        let mut rows = self.rows.kinds::<Row>();
        let mut hands = self.hands.kinds::<Hand>();
        match fault {
            Fault::GatewayCrashes => self.is_half_done,
            Fault::RelayCrashes => rows.any(|row| row.at != RowAt::Due),
            Fault::BrokerCrashes => {
                rows.any(|row| row.at == RowAt::Sent) || hands.any(|hand| hand.is_unacknowledged)
            }
            Fault::WorkerCrashes => !self.hands.is_empty(),
            Fault::WorkerStalls => hands.any(|hand| !matches!(hand.step, Step::Taken | Step::Done)),
            Fault::QueueIsLost => self.waiting > 0,
        }
    }

    /// Whether a call with something left to be done is on its way: in the outbox, in the queue, or in somebody's
    /// hands.
    pub(crate) fn is_remembered(&self) -> bool {
        let is_in_outbox = |event| self.rows.kinds::<Row>().any(|row| row.event == event);
        let is_in_hand = self.hands.kinds::<Hand>().any(|hand| hand.is_unacknowledged);
        let is_pending = self.is_stored && self.recording == Recording::Pending;
        let is_fetched = is_in_outbox(Event::Created) || is_in_outbox(Event::Retry) || is_in_hand;
        (!self.is_stored || self.is_created_told || is_in_outbox(Event::Created))
            && (!is_pending || self.waiting > 0 || is_fetched)
            && (self.settled.is_none() || self.is_settled_told || is_in_outbox(Event::Settled))
    }

    pub(crate) fn add_row(&mut self, event: Event) {
        self.rows.add(Row { event, at: RowAt::Due }, 1);
    }

    /// On the broker's disk: in the workers' queue, or told to subscribers.
    pub(crate) fn deliver(&mut self, event: Event) {
        match event {
            Event::Created => {
                self.is_created_told = true;
                self.waiting += 1;
            }
            Event::Retry => self.waiting += 1,
            Event::Settled => self.is_settled_told = true,
        }
    }

    /// Messages that a relay has sent and the broker did not confirm are lost, or due again.
    pub(crate) fn lose_sent(&mut self, is_due_again: bool) {
        for event in EVENTS {
            let sent = self.rows.take(Row { event, at: RowAt::Sent });
            if is_due_again {
                self.rows.add(Row { event, at: RowAt::Due }, sent);
            }
        }
    }

    /// The leases of a relay's rows end. Messages that it has sent may arrive all the same: that is a crash after the
    /// confirm.
    pub(crate) fn release_rows(&mut self, keeps_sent: bool) {
        for event in EVENTS {
            let confirmed = self.rows.take(Row { event, at: RowAt::Confirmed });
            self.rows.add(Row { event, at: RowAt::Due }, confirmed);
        }
        if !keeps_sent {
            self.lose_sent(true);
        }
    }

    /// Messages that the worker has in hand and did not acknowledge are the broker's again.
    pub(crate) fn give_back(&mut self, is_worker_gone: bool) {
        for step in STEPS {
            let unacknowledged = self.hands.take(Hand { step, is_unacknowledged: true });
            let acknowledged = self.hands.take(Hand { step, is_unacknowledged: false });
            self.waiting += unacknowledged;
            let has_more_to_do = step != Step::Done;
            if !is_worker_gone && has_more_to_do {
                self.hands.add(Hand { step, is_unacknowledged: false }, unacknowledged + acknowledged);
            }
        }
    }

    /// The recording is stored or given up; what is so already stays as it is.
    pub(crate) fn settle(&mut self, recording: Recording, overwrites: bool) {
        if self.recording == Recording::Pending || overwrites {
            self.recording = recording;
            self.settled = self.settled.or(Some(recording));
            self.is_leased = false;
            self.add_row(Event::Settled);
        }
    }
}
