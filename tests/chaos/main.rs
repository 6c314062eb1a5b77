//! Faults, one after the other, under traffic; and after each the reckoning: whatever was answered 201 was kept, told
//! of, fetched and settled. One file a kind of fault. docs/reliability.md says what is promised and how to run the
//! long version.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a failed step fails the test, and the seed has to be seen"
)]

mod broker;
mod chance;
mod clock;
mod cluster;
mod database;
mod disk_full;
mod disk_reserve;
mod embedded;
mod holders;
mod idempotency;
mod killed;
mod machine;
mod minutes;
mod outage;
mod overload;
mod report;
mod stopping;
mod storm;
mod storm_embedded;
