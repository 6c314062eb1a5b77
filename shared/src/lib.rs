//! The parts that two or more of Callvine's processes need: no HTTP, no arguments, no environment.
//!
//! - the modules of `callvine-domain`: [`call`], [`recording`], [`analysis`], [`analyzer`], [`event`], [`queue`],
//!   [`api_key`], [`idempotency`], [`names`], [`networks`], [`retry`], [`switch`], [`waveform`]
//! - [`store`]: the database
//! - [`bus`]: how messages reach their consumers
//! - [`relay`]: from the outbox to the bus, and from the intake to it without reading the database
//! - [`cell`]: child processes that read strangers' recordings
//! - [`objects`]: where recordings are kept
//! - [`metrics`], [`error_chain`]: for the processes' metrics and logs
//! - [`pause`]: a wait that ends early at the shutdown

pub mod bus;
pub mod cell;
pub mod error_chain;
pub mod metrics;
pub mod objects;
pub mod pause;
pub mod relay;
pub mod store;
mod throttle;

pub use callvine_domain::{
    analysis, analyzer, api_key, call, dead_letter, event, idempotency, names, networks, queue, recording,
    retry, switch, waveform,
};
