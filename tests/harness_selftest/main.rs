//! Proves that the harness does what its documentation says.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod networks;
mod origins;
mod programs;
mod servers;
