//! A model of the promise, checked in every order in which things can happen: calls, crashes, and messages that are
//! lost or come twice. It is about the order of steps that ARCHITECTURE.md's invariants 1, 3 and 4 demand; that the
//! program takes its steps in this order is what the other tests are for.
//!
//! Each planted bug is a step in the wrong order, and must be found: a model that finds nothing may see nothing.
#![expect(
    clippy::panic,
    reason = "a property that doesn't hold fails the test, and the way there is its message"
)]
#![expect(clippy::print_stdout, reason = "how much was looked at has to be seen")]

mod bag;
mod state;
mod system;

use stateright::{Checker, HasDiscoveries, Model};

use system::{Bug, Fault, System};

const CRASHES: &[Fault] = &[
    Fault::GatewayCrashes,
    Fault::RelayCrashes,
    Fault::BrokerCrashes,
    Fault::WorkerCrashes,
    Fault::WorkerStalls,
];
const LOSSES: &[Fault] = &[Fault::QueueIsLost, Fault::WorkerCrashes];

/// Threads that look: tests are run on two processors.
const THREADS: usize = 2;

#[test]
fn nothing_is_lost_whatever_crashes_and_whenever() {
    check(&System::<1> { faults: 3, possible: CRASHES, bug: None });
}

#[test]
fn two_calls_do_not_get_into_each_others_way_whatever_crashes() {
    check(&System::<2> { faults: 1, possible: CRASHES, bug: None });
}

#[test]
fn two_calls_that_are_lost_with_their_queue_are_done_in_the_end() {
    check(&System::<2> { faults: 1, possible: LOSSES, bug: None });
}

#[test]
fn what_is_lost_with_a_queue_is_done_in_the_end() {
    check(&System::<1> { faults: 2, possible: LOSSES, bug: None });
}

/// Every property holds in every state that can be reached.
fn check<const CALLS: usize>(system: &System<CALLS>) {
    let began = std::time::Instant::now();
    let checker = system.clone().checker().threads(THREADS).spawn_bfs().join();
    println!(
        "{CALLS} calls, {} faults: {} states in {:?}",
        system.faults,
        checker.unique_state_count(),
        began.elapsed()
    );
    checker.assert_properties();
    assert!(checker.is_done(), "every state was looked at");
}

#[test]
fn a_gateway_that_answers_before_it_commits_is_found() {
    assert_found(Bug::AnswersBeforeCommit, CRASHES, "what was answered 201 is on disk");
}

#[test]
fn a_relay_that_removes_what_is_not_confirmed_is_found() {
    assert_found(Bug::RemovesBeforeConfirm, CRASHES, "nothing is forgotten");
}

#[test]
fn a_worker_that_acknowledges_before_it_stores_is_found() {
    assert_found(Bug::AcknowledgesBeforeStore, CRASHES, "nothing is forgotten");
}

#[test]
fn a_worker_that_drops_what_another_has_in_hand_is_found() {
    assert_found(Bug::DropsWhatIsBusy, CRASHES, "nothing is forgotten");
}

#[test]
fn a_worker_that_overwrites_what_another_has_settled_is_found() {
    assert_found(Bug::OverwritesWhatIsSettled, CRASHES, "what is settled stays settled");
}

#[test]
fn a_worker_that_forgets_its_tries_is_found() {
    assert_found(Bug::ForgetsTries, &[], "tries end");
}

#[test]
fn a_queue_that_is_lost_and_not_searched_for_is_found() {
    assert_found(Bug::NeverSearches, LOSSES, "in the end everything is done");
}

/// The bug breaks this property, in a run of one call and at most two faults.
fn assert_found(bug: Bug, possible: &'static [Fault], property: &'static str) {
    let system = System::<1> { faults: 2, possible, bug: Some(bug) };
    let found = HasDiscoveries::AnyOf([property].into());
    let checker = system.checker().finish_when(found).spawn_bfs().join();
    let Some(path) = checker.discovery(property) else {
        panic!("{bug:?} was not found by: {property}");
    };
    println!("{bug:?}: {:?}", path.into_actions());
}
