//! The facts and rules of Callvine that need no I/O. Cargo keeps runtimes, databases, brokers and HTTP out of this
//! crate.
//!
//! - [`call`]: a call as a provider sends it and as Callvine answers it
//! - [`recording`]: the states, reasons and facts of a recording
//! - [`analysis`]: the states of an analysis
//! - [`analyzer`]: the names of analyzers
//! - [`dead_letter`]: the names of recordings and analyses that were given up
//! - [`event`]: events as subscribers see them
//! - [`queue`]: the queues, their bindings, and the messages that go to them
//! - [`api_key`]: API keys and their digests
//! - [`idempotency`]: when two posts are the same call
//! - [`networks`]: networks, as they are written in a setting
//! - [`names`]: enums whose variants have published names
//! - [`retry`]: how long to wait before the next attempt
//! - [`switch`]: settings that are on or off
//! - [`waveform`]: how a recording's waveform is kept

pub mod analysis;
pub mod analyzer;
pub mod api_key;
pub mod call;
pub mod dead_letter;
pub mod event;
pub mod idempotency;
pub mod names;
pub mod networks;
pub mod queue;
pub mod recording;
pub mod retry;
pub mod switch;
pub mod waveform;
