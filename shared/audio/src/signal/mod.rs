//! Signals.
mod voice;
