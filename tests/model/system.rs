//! Gateway, outbox, relay, broker and worker, reduced to the steps whose order matters. The database's transactions are
//! single steps; a process that crashes starts again at once, with nothing in memory.

use stateright::{Model, Property};

use crate::state::{Call, Event, Hand, Recording, Row, RowAt, State, Step};

/// Failed attempts after which a recording is given up.
const ATTEMPTS: u8 = 2;
/// Messages that a worker has in hand.
const IN_HAND: u8 = 2;

/// Everything that a run of so many calls is about.
#[derive(Clone)]
pub(crate) struct System<const CALLS: usize> {
    /// How many of the things that can go wrong do.
    pub(crate) faults: u8,
    /// The faults that can happen.
    pub(crate) possible: &'static [Fault],
    pub(crate) bug: Option<Bug>,
}

/// Steps in the wrong order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    AnswersBeforeCommit,
    RemovesBeforeConfirm,
    AcknowledgesBeforeStore,
    ForgetsTries,
    DropsWhatIsBusy,
    OverwritesWhatIsSettled,
    NeverSearches,
}

/// The next step: of one call, or of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Call(usize, Next),
    Fault(Fault),
}

impl Action {
    /// Whether it makes no difference when it happens, once nothing can go wrong any more: no other step can hinder it,
    /// it hinders none, and what is remembered without it is remembered with it. Then the orders in which it comes
    /// first stand for all of them ("ample sets": Clarke, Grumberg and Peled, Model Checking, chapter 10).
    fn can_come_first(self) -> bool {
        match self {
            Self::Call(_, Next::Answer | Next::Confirm(_) | Next::Remove(_)) => true,
            // Somebody may lease its recording, and then it waits.
            Self::Call(_, Next::Send(row)) => row.event != Event::Retry,
            Self::Call(_, Next::Acknowledge(hand)) => hand.step == Step::Done,
            Self::Call(..) | Self::Fault(_) => false,
        }
    }
}

/// The next step of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Commit,
    Answer,
    Send(Row),
    Confirm(Row),
    Remove(Row),
    Take,
    Begin(Hand),
    /// Fetch a recording, and whether that succeeds.
    Fetch(Hand, bool),
    Settle(Hand),
    Acknowledge(Hand),
    Search,
    LeaseEnds,
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    GatewayCrashes,
    RelayCrashes,
    BrokerCrashes,
    WorkerCrashes,
    /// A worker stalls for longer than its lease.
    WorkerStalls,
    QueueIsLost,
}

impl<const CALLS: usize> Model for System<CALLS> {
    type State = State<CALLS>;
    type Action = Action;

    fn init_states(&self) -> Vec<Self::State> {
        let calls = [Call::default(); CALLS];
        vec![State { calls, faults: self.faults, is_queue_lost: false }]
    }

    fn actions(&self, state: &Self::State, actions: &mut Vec<Action>) {
        for (id, call) in state.calls.iter().enumerate() {
            let mut add = |next| actions.push(Action::Call(id, next));
            add_gateway(self.bug, call, &mut add);
            self.add_queue(call, state, &mut add);
            for row in call.rows.kinds::<Row>() {
                match row.at {
                    RowAt::Due if row.event == Event::Retry && call.is_leased => {}
                    RowAt::Due => add(Next::Send(row)),
                    RowAt::Sent => add(Next::Confirm(row)),
                    RowAt::Confirmed => add(Next::Remove(row)),
                }
            }
            for hand in call.hands.kinds::<Hand>() {
                add_worker(self.bug, hand, &mut add);
            }
        }
        if state.faults > 0 {
            let faults = self.possible.iter().filter(|fault| state.is_harmed_by(**fault));
            actions.extend(faults.map(|fault| Action::Fault(*fault)));
        } else if let Some(first) = actions.iter().copied().find(|action| action.can_come_first()) {
            *actions = vec![first];
        }
    }

    fn next_state(&self, last: &Self::State, action: Action) -> Option<Self::State> {
        let mut state = *last;
        match action {
            Action::Call(id, next) => self.step(state.call(id)?, next),
            Action::Fault(fault) => {
                state.faults -= 1;
                state.is_queue_lost |= fault == Fault::QueueIsLost;
                state.calls.iter_mut().for_each(|call| self.fault(call, fault));
            }
        }
        state.calls.sort_unstable();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what was answered 201 is on disk", |_, state: &State<CALLS>| {
                state.calls.iter().all(|call| call.is_stored || !call.is_answered)
            }),
            Property::always("what is settled stays settled", |_, state: &State<CALLS>| {
                state.calls.iter().all(|call| call.settled.is_none_or(|settled| settled == call.recording))
            }),
            Property::always("tries end", |system: &Self, state: &State<CALLS>| {
                state.calls.iter().all(|call| call.tries <= ATTEMPTS + system.faults)
            }),
            Property::always("nothing is forgotten", |_, state: &State<CALLS>| {
                state.is_queue_lost || state.calls.iter().all(Call::is_remembered)
            }),
            Property::always("in the end everything is done", |system: &Self, state: &State<CALLS>| {
                if state.calls.iter().all(Call::is_done) {
                    return true;
                }
                let mut actions = Vec::new();
                system.actions(state, &mut actions);
                actions.iter().any(|action| !matches!(action, Action::Fault(_)))
            }),
        ]
    }

    fn within_boundary(&self, state: &Self::State) -> bool {
        // One more than is allowed, so that it is seen; a bug without end must not be a run without end.
        state.calls.iter().all(|call| call.tries <= ATTEMPTS + self.faults + 1)
    }
}

fn add_gateway(bug: Option<Bug>, call: &Call, add: &mut impl FnMut(Next)) {
    let answers_first = bug == Some(Bug::AnswersBeforeCommit);
    match (call.is_half_done, answers_first) {
        // A call that isn't answered is posted again; the key of the post makes it the same call.
        (false, _) if call.is_answered => {}
        (false, false) | (true, true) => add(Next::Commit),
        (true, false) | (false, true) => add(Next::Answer),
    }
}

fn add_worker(bug: Option<Bug>, hand: Hand, add: &mut impl FnMut(Next)) {
    match hand.step {
        Step::Taken => add(Next::Begin(hand)),
        Step::Leased => [true, false].map(|is_good| Next::Fetch(hand, is_good)).into_iter().for_each(add),
        Step::Fetched | Step::FetchFailed
            if bug == Some(Bug::AcknowledgesBeforeStore) && hand.is_unacknowledged =>
        {
            add(Next::Acknowledge(hand));
        }
        Step::Fetched | Step::FetchFailed => add(Next::Settle(hand)),
        Step::Done => add(Next::Acknowledge(hand)),
    }
}

impl<const CALLS: usize> System<CALLS> {
    fn add_queue(&self, call: &Call, state: &State<CALLS>, add: &mut impl FnMut(Next)) {
        if call.waiting > 0 && state.in_hand() < IN_HAND {
            add(Next::Take);
        }
        if call.is_leased && call.hands.is_empty() {
            add(Next::LeaseEnds);
        }
        let is_pending = call.is_stored && call.recording == Recording::Pending;
        let is_idle = is_pending && !call.is_leased && call.hands.is_empty();
        let is_quiet = state.calls.iter().all(|call| call.waiting == 0 && call.rows.is_empty());
        if is_idle && is_quiet && self.bug != Some(Bug::NeverSearches) {
            add(Next::Search);
        }
    }

    /// One transaction, or one message sent.
    fn step(&self, call: &mut Call, next: Next) {
        match next {
            Next::Commit => self.commit(call),
            Next::Answer => {
                call.is_answered = true;
                call.is_half_done = self.bug == Some(Bug::AnswersBeforeCommit);
            }
            Next::Send(row) => call.rows.replace(row, Some(Row { at: RowAt::Sent, ..row })),
            Next::Confirm(row) => {
                call.deliver(row.event);
                let confirmed = Row { at: RowAt::Confirmed, ..row };
                call.rows.replace(row, (!self.removes_first()).then_some(confirmed));
            }
            Next::Remove(row) => call.rows.replace(row, None),
            Next::Take => {
                call.waiting -= 1;
                call.hands.add(Hand { step: Step::Taken, is_unacknowledged: true }, 1);
            }
            Next::Begin(hand) => self.begin(call, hand),
            Next::Fetch(hand, is_good) => {
                call.tries += 1;
                let step = if is_good { Step::Fetched } else { Step::FetchFailed };
                call.hands.replace(hand, Some(Hand { step, ..hand }));
            }
            Next::Settle(hand) => self.settle(call, hand),
            Next::Acknowledge(hand) => {
                let rest = Hand { is_unacknowledged: false, ..hand };
                call.hands.replace(hand, (hand.step != Step::Done).then_some(rest));
            }
            Next::Search => self.fail(call),
            Next::LeaseEnds => call.is_leased = false,
        }
    }

    /// Call, pending recording and event in one transaction; a call that is there already stays as it is.
    fn commit(&self, call: &mut Call) {
        call.is_half_done = self.bug != Some(Bug::AnswersBeforeCommit);
        if !call.is_stored {
            call.is_stored = true;
            call.add_row(Event::Created);
        }
    }

    fn begin(&self, call: &mut Call, hand: Hand) {
        let mut step = Step::Done;
        if call.recording == Recording::Pending {
            if !call.is_leased {
                call.is_leased = true;
                step = Step::Leased;
            } else if self.bug != Some(Bug::DropsWhatIsBusy) {
                call.add_row(Event::Retry);
            }
        }
        call.hands.replace(hand, Some(Hand { step, ..hand }));
    }

    fn settle(&self, call: &mut Call, hand: Hand) {
        if hand.step == Step::Fetched {
            call.settle(Recording::Stored, self.overwrites());
        } else {
            self.fail(call);
        }
        // A message that was acknowledged too early has nothing left to be done.
        let rest = Hand { step: Step::Done, ..hand };
        call.hands.replace(hand, hand.is_unacknowledged.then_some(rest));
    }

    /// One more attempt that failed.
    fn fail(&self, call: &mut Call) {
        if call.recording != Recording::Pending && !self.overwrites() {
            return;
        }
        if self.bug != Some(Bug::ForgetsTries) {
            call.attempts += 1;
        }
        if call.attempts >= ATTEMPTS {
            return call.settle(Recording::Failed, self.overwrites());
        }
        call.is_leased = false;
        call.add_row(Event::Retry);
    }

    fn fault(&self, call: &mut Call, fault: Fault) {
        match fault {
            Fault::GatewayCrashes => call.is_half_done = false,
            Fault::RelayCrashes => call.release_rows(self.removes_first()),
            Fault::BrokerCrashes => {
                call.lose_sent(!self.removes_first());
                // Their worker goes on with them, and can't acknowledge them any more.
                call.give_back(false);
            }
            Fault::WorkerCrashes => call.give_back(true),
            Fault::WorkerStalls => call.is_leased = false,
            Fault::QueueIsLost => call.waiting = 0,
        }
    }

    fn overwrites(&self) -> bool {
        self.bug == Some(Bug::OverwritesWhatIsSettled)
    }

    fn removes_first(&self) -> bool {
        self.bug == Some(Bug::RemovesBeforeConfirm)
    }
}
