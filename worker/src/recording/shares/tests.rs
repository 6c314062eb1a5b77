//! No order of arrivals starves a client, no permit is lost, and only the slow are ended, for others who wait.

use std::collections::HashMap;
use std::pin::Pin;

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::*;

const CLIENTS: [&str; 4] = ["a", "b", "c", "d"];

async fn held(shares: &Arc<Shares>, client: &str) -> (Permit, Arc<Work>) {
    let work = Work::new(client);
    let permit = shares.permit(&work).now_or_never().expect("there is a permit");
    (permit, work)
}

#[tokio::test]
async fn a_client_that_fills_the_permits_leaves_the_spare_to_others() {
    let shares = Shares::new(2, 1);
    let held_by_a = [held(&shares, "a").await, held(&shares, "a").await];
    assert!(
        shares.permit(&Work::new("a")).now_or_never().is_none(),
        "the spare is not for those who hold one"
    );
    let (permit_of_b, _) = held(&shares, "b").await;
    assert!(shares.permit(&Work::new("c")).now_or_never().is_none(), "all are in use");
    drop(permit_of_b);
    drop(held(&shares, "c").await);
    drop(held_by_a);
    assert!(shares.state.lock().held.is_empty());
}

#[tokio::test]
async fn clients_take_turns_whoever_came_first() {
    let shares = Shares::new(1, 0);
    let (permit, _) = held(&shares, "a").await;
    let order = ["a", "a", "a", "b", "b", "c"];
    let works = order.map(Work::new);
    let mut waiting: Vec<_> = works.iter().map(|work| Box::pin(shares.permit(work))).collect();
    for waiter in &mut waiting {
        assert!(waiter.as_mut().now_or_never().is_none());
    }
    let mut clients: Vec<&str> = order.to_vec();
    let mut granted = Vec::new();
    let mut last = permit;
    while !waiting.is_empty() {
        drop(last);
        let mut got = None;
        for (index, waiter) in waiting.iter_mut().enumerate() {
            if let Some(permit) = waiter.as_mut().now_or_never() {
                got = Some((index, permit));
                break;
            }
        }
        let (index, permit) = got.expect("somebody's turn has come");
        granted.push(clients.remove(index));
        drop(waiting.remove(index));
        last = permit;
    }
    assert_eq!(granted, ["a", "b", "c", "a", "b", "a"]);
}

#[tokio::test]
async fn a_wait_that_is_dropped_leaves_nothing_behind_granted_or_not() {
    let shares = Shares::new(1, 0);
    let (permit, _) = held(&shares, "a").await;
    let (second, third) = (Work::new("a"), Work::new("b"));
    let (mut granted, mut waiting) = (Box::pin(shares.permit(&second)), Box::pin(shares.permit(&third)));
    assert!(granted.as_mut().now_or_never().is_none() && waiting.as_mut().now_or_never().is_none());
    drop(permit);
    drop(granted);
    drop(waiting.as_mut().now_or_never().expect("the permit that nobody saw is b's"));
    drop(waiting);
    let state = shares.state.lock();
    assert!(
        state.holders.is_empty()
            && state.held.is_empty()
            && state.turns.is_empty()
            && state.queues.is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn the_slowest_is_ended_for_others_who_wait_one_at_a_time() {
    let shares = Shares::new(3, 0);
    let held_by_a = [held(&shares, "a").await, held(&shares, "a").await, held(&shares, "a").await];
    let works: Vec<&Arc<Work>> = held_by_a.iter().map(|(_, work)| work).collect();
    let transfers: Vec<_> = works.iter().map(|work| work.transfer()).collect();
    let ended = || -> Vec<bool> { works.iter().map(|work| work.ended().now_or_never().is_some()).collect() };
    let run = async |client: &str, seconds: u64| {
        let work = Work::new(client);
        let mut waiting = Box::pin(shares.permit(&work));
        for _ in 0..seconds {
            for (work, bytes) in works.iter().zip([2_000, 1_000, 10_000_000]) {
                work.received(bytes);
            }
            let second = Duration::from_secs(1);
            assert!(tokio::time::timeout(second, waiting.as_mut()).await.is_err());
        }
    };
    run("a", 60).await;
    assert_eq!(ended(), [false; 3], "nobody else waits");
    run("b", 5).await;
    assert_eq!(ended(), [false, true, false]);
    run("b", 20).await;
    assert_eq!(ended(), [true, true, false], "the third is fast");
    drop(transfers);
}

#[tokio::test(start_paused = true)]
async fn whoever_holds_as_much_as_others_is_left_alone() {
    let shares = Shares::new(2, 0);
    let (_permit_of_a, work_of_a) = held(&shares, "a").await;
    let (_permit_of_b, work_of_b) = held(&shares, "b").await;
    let (_a, _b) = (work_of_a.transfer(), work_of_b.transfer());
    let waiting = Work::new("c");
    assert!(tokio::time::timeout(Duration::from_secs(60), shares.permit(&waiting)).await.is_err());
    assert!(work_of_a.ended().now_or_never().is_none() && work_of_b.ended().now_or_never().is_none());
}

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A recording of this client comes.
    Arrive(usize),
    /// A permit in use is given back.
    Finish(usize),
    /// Somebody who waits goes away.
    Leave(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..CLIENTS.len()).prop_map(Step::Arrive),
        4 => (0..64_usize).prop_map(Step::Finish),
        1 => (0..64_usize).prop_map(Step::Leave),
    ]
}

type Wait<'a> = Pin<Box<dyn Future<Output = Permit> + 'a>>;

/// Everybody who waits or holds, and how often others were served while a client that holds none waited.
#[derive(Default)]
struct World<'a> {
    waiting: Vec<(usize, Wait<'a>)>,
    held: Vec<(usize, Permit)>,
    /// By the client that waits and the one that was served.
    passed_over: HashMap<(usize, usize), usize>,
}

impl World<'_> {
    fn holds(&self, client: usize) -> usize {
        self.held.iter().filter(|(holder, _)| *holder == client).count()
    }

    /// Takes what was granted, and forgets those who are no longer passed over.
    fn settle(&mut self) {
        let mut index = 0;
        while index < self.waiting.len() {
            let (client, wait) = &mut self.waiting[index];
            let client = *client;
            match wait.as_mut().now_or_never() {
                None => index += 1,
                Some(permit) => {
                    drop(self.waiting.remove(index));
                    self.held.push((client, permit));
                    for other in 0..CLIENTS.len() {
                        *self.passed_over.entry((other, client)).or_default() += 1;
                    }
                }
            }
        }
        let starving: Vec<bool> = (0..CLIENTS.len())
            .map(|client| {
                self.holds(client) == 0 && self.waiting.iter().any(|(waiting, _)| *waiting == client)
            })
            .collect();
        self.passed_over.retain(|(waiting, _), _| starving[*waiting]);
    }
}

proptest! {
    #[test]
    fn no_order_of_arrivals_starves_a_client(
        permits in 1..4_usize,
        spare in 0..3_usize,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        let shares = Shares::new(permits, spare);
        let works = CLIENTS.map(Work::new);
        let mut world = World::default();
        for step in steps {
            match step {
                Step::Arrive(client) => world.waiting.push((client, Box::pin(shares.permit(&works[client])))),
                Step::Finish(index) if !world.held.is_empty() => {
                    let index = index % world.held.len();
                    drop(world.held.swap_remove(index));
                }
                Step::Leave(index) if !world.waiting.is_empty() => {
                    let index = index % world.waiting.len();
                    drop(world.waiting.swap_remove(index));
                }
                Step::Finish(_) | Step::Leave(_) => {}
            }
            world.settle();
            let in_use = world.held.len();
            prop_assert!(in_use <= permits + spare);
            prop_assert!(world.waiting.is_empty() || in_use >= permits, "a permit is idle while somebody waits");
            for (client, _) in &world.waiting {
                prop_assert!(
                    in_use == permits + spare || world.holds(*client) > 0,
                    "a spare permit is idle while a client that holds none waits"
                );
            }
            for ((waiting, served), times) in &world.passed_over {
                prop_assert!(*times <= 1, "{waiting} was passed over {times} times for {served}");
            }
        }
        drop(world);
        let state = shares.state.lock();
        prop_assert!(state.holders.is_empty() && state.held.is_empty());
        prop_assert!(state.turns.is_empty() && state.queues.is_empty());
    }
}
