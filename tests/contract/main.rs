//! What is promised, on every engine that promises it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step fails the test")]

mod bus;
mod migrations;
mod store;
