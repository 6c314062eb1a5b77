//! What two or more of Callvine's processes need: no HTTP, no arguments, no environment.
//!
//! - [`call`], [`event`], [`api_key`], [`retry`], [`waveform`]: pure; they do no I/O and know nothing of the rest
//! - [`store`]: the database
//! - [`bus`]: how messages reach their consumers
//! - `handoff`: from the intake to the relay without the database
//! - [`relay`]: from the outbox to the bus
//! - [`objects`]: where recordings are kept
//! - [`metrics`], [`error_chain`]: what the processes say about themselves

pub mod api_key;
pub mod bus;
pub mod call;
pub mod error_chain;
pub mod event;
mod handoff;
pub mod metrics;
pub mod objects;
pub mod relay;
pub mod retry;
pub mod store;
pub mod waveform;
