//! One recording's life: fetched from its address, proved to be audio.

pub mod address;
pub mod audio;
pub mod failure;
pub mod fetch;
