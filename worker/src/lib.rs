//! Every queue consumer of Callvine. Listens on nothing.
//!
//! [`settings`] is how recordings are fetched; [`recording`] is one recording's life, from its address to the proof
//! that what came is audio.

pub mod recording;
pub mod settings;
