//! Lets a sick host rest: after many different recordings in a row have failed, only one at a time is attempted.
//!
//! One call's own attempts never open a breaker, however often they fail: it takes [`FAILURES_TO_OPEN`] different
//! recordings with no answer in between. Visible as the metrics `callvine_fetch_resting_hosts` and
//! `callvine_fetch_breaker_opened_total`.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::recording::failure::{Failure, Reason, Retry};

/// Different recordings that must fail in a row: twice as many as are fetched at once from one host by default, so that one
/// outage which breaks all of them is not enough.
const FAILURES_TO_OPEN: usize = 8;

/// Longest rest between two attempts at a sick host, so that its recovery is noticed within minutes.
const REST_MAX: Duration = Duration::from_secs(5 * 60);

/// Most hosts remembered. Only failing hosts are; the one that failed longest ago is forgotten first.
const HOSTS_MAX: usize = 1024;

/// The breakers of all hosts.
#[derive(Debug)]
pub(super) struct Breakers {
    rest: Duration,
    hosts: Mutex<HashMap<String, Breaker>>,
    hasher: RandomState,
}

/// One failing host.
#[derive(Debug)]
struct Breaker {
    /// Hashes of the recordings that failed in a row, each once, up to [`FAILURES_TO_OPEN`].
    failed: Vec<u64>,
    /// Set once the breaker is open.
    rest: Option<Rest>,
    touched: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    length: Duration,
    until: Instant,
    reason: Reason,
    /// A request was let through to probe the host, and has not reported back.
    asked: bool,
}

/// The health of a host, by the failure of a fetch.
enum Health {
    Well,
    Sick(Reason),
    /// The failure is our own and tells nothing.
    Unknown,
}

impl Breakers {
    /// Breakers whose first rest is as long as the first backoff of a recording.
    pub(super) fn new(backoff: Duration) -> Self {
        Self { rest: backoff.min(REST_MAX), hosts: Mutex::default(), hasher: RandomState::new() }
    }

    /// Refuses where this host rests. After each rest one request is let through to probe it.
    pub(super) fn check(&self, host: &str, now: Instant) -> Result<(), Failure> {
        let mut hosts = self.hosts.lock();
        let Some(rest) = hosts.get_mut(host).and_then(|breaker| breaker.rest.as_mut()) else {
            return Ok(());
        };
        let left = rest.until.saturating_duration_since(now);
        if left.is_zero() {
            // Should this one never report back, another is let through after the same time.
            rest.until = now + rest.length;
            rest.asked = true;
            return Ok(());
        }
        // Jitter, so that the recordings of this host don't come back all at once.
        let wait = left + left.mul_f64(fastrand::f64() / 2.0);
        let detail = "the host is failing and is left to rest";
        Err(Failure { reason: rest.reason, detail: detail.to_owned(), retry: Retry::Unattempted(wait) })
    }

    /// Notes how a fetch ended. `recording` tells one recording from another.
    pub(super) fn record(&self, host: &str, recording: &str, failure: Option<&Failure>, now: Instant) {
        let mut hosts = self.hosts.lock();
        match failure.map(health) {
            Some(Health::Unknown) => return,
            None | Some(Health::Well) => drop(hosts.remove(host)),
            Some(Health::Sick(reason)) => {
                if hosts.len() >= HOSTS_MAX && !hosts.contains_key(host) {
                    forget_oldest(&mut hosts);
                }
                let new = || Breaker { failed: Vec::new(), rest: None, touched: now };
                let breaker = hosts.entry(host.to_owned()).or_insert_with(new);
                breaker.fail(self.hasher.hash_one(recording), reason, self.rest, now);
            }
        }
        let resting = hosts.values().filter(|breaker| breaker.rest.is_some()).count();
        metrics::gauge!(crate::metrics::RESTING_HOSTS).set(u32::try_from(resting).unwrap_or(u32::MAX));
    }
}

impl Breaker {
    fn fail(&mut self, recording: u64, reason: Reason, first_rest: Duration, now: Instant) {
        self.touched = now;
        if let Some(rest) = &mut self.rest {
            // Other fetches that end now were under way when the breaker opened, and tell nothing new.
            if std::mem::take(&mut rest.asked) {
                let length = rest.length.saturating_mul(2).min(REST_MAX);
                *rest = Rest { length, until: now + length, reason, asked: false };
            }
            return;
        }
        if !self.failed.contains(&recording) {
            self.failed.push(recording);
        }
        if self.failed.len() >= FAILURES_TO_OPEN {
            self.rest = Some(Rest { length: first_rest, until: now + first_rest, reason, asked: false });
            metrics::counter!(crate::metrics::BREAKER_OPENED).increment(1);
        }
    }
}

/// Names every reason, so that a new one does not compile until it is judged.
fn health(failure: &Failure) -> Health {
    match failure.reason {
        Reason::Dns | Reason::Connect | Reason::Tls | Reason::Timeout => Health::Sick(failure.reason),
        // Answers that a later attempt might change: 5xx, too many requests and their like.
        Reason::HttpStatus if failure.retry != Retry::Final => Health::Sick(failure.reason),
        Reason::Storage | Reason::BlockedAddress => Health::Unknown,
        // The host answered, and its answer is about this recording.
        Reason::NotFound
        | Reason::Forbidden
        | Reason::HttpStatus
        | Reason::Truncated
        | Reason::TooLarge
        | Reason::Empty
        | Reason::NotAudio => Health::Well,
    }
}

fn forget_oldest(hosts: &mut HashMap<String, Breaker>) {
    let oldest = hosts.iter().min_by_key(|(_, breaker)| breaker.touched).map(|(host, _)| host.clone());
    if let Some(host) = oldest {
        hosts.remove(&host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_secs(10);

    fn fail(breakers: &Breakers, recordings: std::ops::Range<usize>, now: Instant) {
        let failure = Failure::new(Reason::Connect, "");
        for recording in recordings {
            breakers.record("host", &recording.to_string(), Some(&failure), now);
        }
    }

    #[test]
    fn many_different_failures_in_a_row_open_it() {
        let (breakers, now) = (Breakers::new(REST), Instant::now());
        fail(&breakers, 0..FAILURES_TO_OPEN - 1, now);
        breakers.check("host", now).unwrap();
        fail(&breakers, FAILURES_TO_OPEN..FAILURES_TO_OPEN + 1, now);
        let failure = breakers.check("host", now).unwrap_err();
        assert_eq!(failure.reason, Reason::Connect);
        let Retry::Unattempted(wait) = failure.retry else { panic!("{failure:?}") };
        assert!((REST..=REST * 3 / 2).contains(&wait), "{wait:?}");
        breakers.check("another", now).unwrap();
    }

    #[test]
    fn one_recording_never_opens_it() {
        let (breakers, now) = (Breakers::new(REST), Instant::now());
        for _ in 0..100 {
            fail(&breakers, 0..1, now);
        }
        breakers.check("host", now).unwrap();
    }

    #[test]
    fn an_answer_closes_it_and_our_own_trouble_does_not() {
        let (breakers, now) = (Breakers::new(REST), Instant::now());
        fail(&breakers, 0..FAILURES_TO_OPEN, now);
        breakers.record("host", "x", Some(&Failure::new(Reason::Storage, "")), now);
        breakers.check("host", now).unwrap_err();
        breakers.record("host", "x", Some(&Failure::new(Reason::NotFound, "")), now);
        breakers.check("host", now).unwrap();
        fail(&breakers, 0..FAILURES_TO_OPEN - 1, now);
        breakers.record("host", "x", None, now);
        fail(&breakers, 0..FAILURES_TO_OPEN - 1, now);
        breakers.check("host", now).unwrap();
    }

    #[test]
    fn one_at_a_time_sees_how_it_is_and_rests_grow_to_their_bound() {
        let (breakers, mut now) = (Breakers::new(REST), Instant::now());
        fail(&breakers, 0..FAILURES_TO_OPEN, now);
        let mut rest = REST;
        for _ in 0..8 {
            now += rest;
            breakers.check("host", now).expect("one is let through");
            breakers.check("host", now).expect_err("and no other");
            fail(&breakers, 0..1, now);
            fail(&breakers, 1..2, now);
            rest = (rest * 2).min(REST_MAX);
            breakers.check("host", now + rest - Duration::from_millis(1)).unwrap_err();
        }
        assert_eq!(rest, REST_MAX);
        now += rest;
        breakers.check("host", now).unwrap();
        breakers.check("host", now + rest).expect("one that never reports back does not lock it");
    }

    #[test]
    fn only_so_many_hosts_are_remembered() {
        let (breakers, now) = (Breakers::new(REST), Instant::now());
        let failure = Failure::new(Reason::Timeout, "");
        for index in 0..HOSTS_MAX + 10 {
            let later = now + Duration::from_millis(index as u64);
            breakers.record(&index.to_string(), "x", Some(&failure), later);
        }
        let hosts = breakers.hosts.lock();
        assert_eq!(hosts.len(), HOSTS_MAX);
        assert!(!hosts.contains_key("9") && hosts.contains_key("10"));
    }
}
