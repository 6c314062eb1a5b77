//! What two or more of Callvine's processes need: no HTTP, no arguments, no environment.
//!
//! - what `callvine-domain` has: [`call`], [`recording`], [`analysis`], [`event`], [`queue`],
//!   [`api_key`], [`names`], [`retry`], [`switch`], [`waveform`]
//! - [`store`]: the database
//! - [`bus`]: how messages reach their consumers
//! - `handoff`: from the intake to the relay without the database
//! - [`relay`]: from the outbox to the bus
//! - [`objects`]: where recordings are kept
//! - [`metrics`], [`error_chain`]: what the processes say about themselves
//! - [`pause`]: a wait that ends early at the shutdown

pub mod bus;
pub mod error_chain;
mod handoff;
pub mod metrics;
pub mod objects;
pub mod pause;
pub mod relay;
pub mod store;

pub use callvine_domain::{analysis, api_key, call, event, names, queue, recording, retry, switch, waveform};
