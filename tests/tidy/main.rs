//! The rules of ARCHITECTURE.md and CONTRIBUTING.md that a program can check and the compiler doesn't.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step fails the test")]

mod contracts;
mod documents;
mod edges;
mod features;
mod files;
mod images;
mod libraries;
mod migrations;
mod paths;
mod published;
mod settings;
mod shape;
mod transactions;
mod words;
