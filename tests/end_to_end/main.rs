//! A call goes all the way, on both engines: posted, stored, told of, its recording fetched, proved and kept, its
//! analysis queued; and nothing is lost when everything is killed in the middle.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a failed step fails the test, and a delay has to be seen"
)]

mod analysis;
mod answers;
mod credentials;
mod dead_letters;
mod embedded;
mod failures;
mod fairness;
mod field;
mod formats;
mod hostile;
mod hosts;
mod largest;
mod listening;
mod memory;
mod postponed;
mod recordings;
mod redirects;
mod s3;
mod servers;
mod site;
mod slow_host;
mod soak;
mod storage;
mod trust;
