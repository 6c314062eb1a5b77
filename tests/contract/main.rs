//! The promises of the program, on every engine that makes them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed step fails the test"
)]

mod admin;
mod audit;
mod bus;
mod calls;
mod commands;
mod floods;
mod frames;
mod http;
mod idempotency;
mod key_commands;
mod keys;
mod memory;
mod migrations;
mod newer_queue;
mod objects;
mod openapi;
mod privacy;
mod public;
mod queues;
mod server;
mod store;
mod terminal;
mod tls;
mod tls_files;
mod webhook;
mod wire;
