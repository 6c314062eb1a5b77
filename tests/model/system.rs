//! Gateway, outbox, relay, broker and worker, reduced to the steps whose order matters. The database's transactions are
//! single steps; a process that crashes starts again at once, with nothing in memory.

use stateright::{Model, Property};

use crate::state::{Call, Event, Gateway, Hand, Recording, Row, RowAt, State, Step};

/// Failed tries after which a recording is given up.
const ATTEMPTS: u8 = 2;
/// Messages that a worker has in hand.
const IN_HAND: usize = 2;

/// Everything that a run is about.
#[derive(Clone)]
pub(crate) struct System {
    pub(crate) calls: usize,
    /// How many of the things that can go wrong do.
    pub(crate) faults: u8,
    /// What can go wrong.
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

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Post(usize),
    Commit(usize),
    Answer(usize),
    Send(Row),
    Confirm(Row),
    Remove(Row),
    Take(usize),
    Begin(Hand),
    Fetch(Hand, bool),
    Settle(Hand),
    Acknowledge(Hand),
    Search(usize),
    LeaseEnds(usize),
    Fault(Fault),
}

/// What can go wrong.
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

impl Model for System {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            calls: vec![Call::default(); self.calls],
            outbox: Vec::new(),
            hands: Vec::new(),
            faults: self.faults,
            is_queue_lost: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (id, call) in state.calls.iter().enumerate() {
            self.gateway_actions(id, call, actions);
            self.queue_actions(id, call, state, actions);
        }
        for row in &state.outbox {
            match row.at {
                RowAt::Due if row.event == Event::Retry && state.is_leased(row.call) => {}
                RowAt::Due => actions.push(Action::Send(*row)),
                RowAt::Sent => actions.push(Action::Confirm(*row)),
                RowAt::Confirmed => actions.push(Action::Remove(*row)),
            }
        }
        for hand in &state.hands {
            self.hand_actions(*hand, actions);
        }
        if state.faults > 0 {
            let faults = self.possible.iter().filter(|fault| state.is_harmed_by(**fault));
            actions.extend(faults.map(|fault| Action::Fault(*fault)));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Post(id) => state.call(id)?.gateway = Gateway::Received,
            Action::Commit(id) => self.commit(&mut state, id)?,
            Action::Answer(id) => {
                let is_half = self.bug == Some(Bug::AnswersBeforeCommit);
                let call = state.call(id)?;
                call.is_answered = true;
                call.gateway = if is_half { Gateway::HalfDone } else { Gateway::Nothing };
            }
            Action::Send(row) => state.move_row(row, Some(RowAt::Sent)),
            Action::Confirm(row) => {
                state.deliver(row)?;
                let is_removed = self.bug == Some(Bug::RemovesBeforeConfirm);
                state.move_row(row, (!is_removed).then_some(RowAt::Confirmed));
            }
            Action::Remove(row) => state.move_row(row, None),
            Action::Take(id) => {
                state.call(id)?.waiting -= 1;
                state.hands.push(Hand { call: id, step: Step::Taken, is_unacknowledged: true });
            }
            Action::Begin(hand) => self.begin(&mut state, hand)?,
            Action::Fetch(hand, is_good) => {
                state.call(hand.call)?.tries += 1;
                state.move_hand(hand, Some(Hand { step: Step::Fetched { is_good }, ..hand }));
            }
            Action::Settle(hand) => self.settle(&mut state, hand)?,
            Action::Acknowledge(hand) => {
                let rest = Hand { is_unacknowledged: false, ..hand };
                state.move_hand(hand, (hand.step != Step::Done).then_some(rest));
            }
            Action::Search(id) => self.fail(&mut state, id)?,
            Action::LeaseEnds(id) => state.call(id)?.is_leased = false,
            Action::Fault(fault) => {
                state.faults -= 1;
                self.fault(&mut state, fault)?;
            }
        }
        state.outbox.sort_unstable();
        state.hands.sort_unstable();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what was answered 201 is on disk", |_, state: &State| {
                state.calls.iter().all(|call| call.is_stored || !call.is_answered)
            }),
            Property::always("what is settled stays settled", |_, state: &State| {
                state.calls.iter().all(|call| call.settled.is_none_or(|settled| settled == call.recording))
            }),
            Property::always("tries end", |system: &Self, state: &State| {
                state.calls.iter().all(|call| call.tries <= ATTEMPTS + system.faults)
            }),
            Property::always("nothing is forgotten", |_, state: &State| {
                state.is_queue_lost || (0..state.calls.len()).all(|id| state.is_remembered(id))
            }),
            Property::always("in the end everything is done", |system: &Self, state: &State| {
                let mut actions = Vec::new();
                system.actions(state, &mut actions);
                actions.iter().any(|action| !matches!(action, Action::Fault(_)))
                    || state.calls.iter().all(Call::is_done)
            }),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        // One more than is allowed, so that it is seen; a bug without end must not be a run without end.
        state.calls.iter().all(|call| call.tries <= ATTEMPTS + self.faults + 1)
    }
}

impl System {
    fn gateway_actions(&self, id: usize, call: &Call, actions: &mut Vec<Action>) {
        let answers_first = self.bug == Some(Bug::AnswersBeforeCommit);
        match (call.gateway, answers_first) {
            // What isn't answered is posted again; the key of the post sees to it that it is the same call.
            (Gateway::Nothing, _) if !call.is_answered => actions.push(Action::Post(id)),
            (Gateway::Nothing, _) => {}
            (Gateway::Received, false) | (Gateway::HalfDone, true) => actions.push(Action::Commit(id)),
            (Gateway::HalfDone, false) | (Gateway::Received, true) => actions.push(Action::Answer(id)),
        }
    }

    fn queue_actions(&self, id: usize, call: &Call, state: &State, actions: &mut Vec<Action>) {
        if call.waiting > 0 && state.hands.len() < IN_HAND {
            actions.push(Action::Take(id));
        }
        let is_in_hand = state.hands.iter().any(|hand| hand.call == id);
        if call.is_leased && !is_in_hand {
            actions.push(Action::LeaseEnds(id));
        }
        let is_idle =
            call.is_stored && call.recording == Recording::Pending && !call.is_leased && !is_in_hand;
        let is_quiet = state.outbox.is_empty() && state.calls.iter().all(|call| call.waiting == 0);
        if is_idle && is_quiet && self.bug != Some(Bug::NeverSearches) {
            actions.push(Action::Search(id));
        }
    }

    fn hand_actions(&self, hand: Hand, actions: &mut Vec<Action>) {
        match hand.step {
            Step::Taken => actions.push(Action::Begin(hand)),
            Step::Leased => actions.extend([true, false].map(|is_good| Action::Fetch(hand, is_good))),
            Step::Fetched { .. }
                if self.bug == Some(Bug::AcknowledgesBeforeStore) && hand.is_unacknowledged =>
            {
                actions.push(Action::Acknowledge(hand));
            }
            Step::Fetched { .. } => actions.push(Action::Settle(hand)),
            Step::Done => actions.push(Action::Acknowledge(hand)),
        }
    }

    /// Call, pending recording and event in one transaction; a call that is there already stays as it is.
    fn commit(&self, state: &mut State, id: usize) -> Option<()> {
        let is_half = self.bug != Some(Bug::AnswersBeforeCommit);
        let call = state.call(id)?;
        call.gateway = if is_half { Gateway::HalfDone } else { Gateway::Nothing };
        if !call.is_stored {
            call.is_stored = true;
            state.add_row(id, Event::Created);
        }
        Some(())
    }

    fn begin(&self, state: &mut State, hand: Hand) -> Option<()> {
        let call = state.call(hand.call)?;
        let mut step = Step::Done;
        if call.recording == Recording::Pending {
            if !call.is_leased {
                call.is_leased = true;
                step = Step::Leased;
            } else if self.bug != Some(Bug::DropsWhatIsBusy) {
                state.add_row(hand.call, Event::Retry);
            }
        }
        state.move_hand(hand, Some(Hand { step, ..hand }));
        Some(())
    }

    fn settle(&self, state: &mut State, hand: Hand) -> Option<()> {
        if hand.step == (Step::Fetched { is_good: true }) {
            state.settle(hand.call, Recording::Stored, self.overwrites())?;
        } else {
            self.fail(state, hand.call)?;
        }
        // What was acknowledged too early has nothing left to be done.
        let rest = Hand { step: Step::Done, ..hand };
        state.move_hand(hand, hand.is_unacknowledged.then_some(rest));
        Some(())
    }

    /// One more try that brought nothing.
    fn fail(&self, state: &mut State, id: usize) -> Option<()> {
        let call = state.call(id)?;
        if call.recording != Recording::Pending && !self.overwrites() {
            return Some(());
        }
        if self.bug != Some(Bug::ForgetsTries) {
            call.attempts += 1;
        }
        if call.attempts >= ATTEMPTS {
            return state.settle(id, Recording::Failed, self.overwrites());
        }
        call.is_leased = false;
        state.add_row(id, Event::Retry);
        Some(())
    }

    fn fault(&self, state: &mut State, fault: Fault) -> Option<()> {
        match fault {
            Fault::GatewayCrashes => state.calls.iter_mut().for_each(|call| call.gateway = Gateway::Nothing),
            // The leases of its rows end. What it has sent may arrive all the same: that is a crash after the confirm.
            Fault::RelayCrashes => {
                let is_kept = |row: &Row| row.at == RowAt::Sent && self.removes_first();
                state.outbox.iter_mut().filter(|row| !is_kept(row)).for_each(|row| row.at = RowAt::Due);
            }
            Fault::BrokerCrashes => {
                if self.removes_first() {
                    state.outbox.retain(|row| row.at != RowAt::Sent);
                }
                let sent = state.outbox.iter_mut().filter(|row| row.at == RowAt::Sent);
                sent.for_each(|row| row.at = RowAt::Due);
                // Their worker goes on with them, and can't acknowledge them any more.
                state.give_back(false)?;
            }
            Fault::WorkerCrashes => state.give_back(true)?,
            Fault::WorkerStalls => state.calls.iter_mut().for_each(|call| call.is_leased = false),
            Fault::QueueIsLost => {
                state.is_queue_lost = true;
                state.calls.iter_mut().for_each(|call| call.waiting = 0);
            }
        }
        Some(())
    }

    fn overwrites(&self) -> bool {
        self.bug == Some(Bug::OverwritesWhatIsSettled)
    }

    fn removes_first(&self) -> bool {
        self.bug == Some(Bug::RemovesBeforeConfirm)
    }
}
