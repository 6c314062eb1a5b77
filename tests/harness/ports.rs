//! Picks TCP ports for servers that must know theirs before they start, or keep it over a restart.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below Linux's ephemeral range (32768 and up), so that no outgoing connection takes a port while its server restarts.
const FIRST: u16 = 20_000;
/// Ports that are looked at, one after the other: more than all test processes of a machine use at once.
const COUNT: u16 = 12_000;

/// A TCP port on 127.0.0.1 that nobody listens on, given out once in this process.
///
/// Another process may take it before its server listens: then start the server again on another one.
///
/// # Panics
/// When no port of the range is free.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    // Test processes that start together begin at different ports.
    let start = std::process::id() % u32::from(COUNT) * 37 % u32::from(COUNT);
    let next = NEXT.get_or_init(|| AtomicU16::new(u16::try_from(start).unwrap()));
    for _ in 0..COUNT {
        let port = FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT - 1);
}
