//! Memory doesn't grow with the size of recordings.

use std::sync::Arc;

use harness::{Answer, Callvine, Origin, Provider, TEST_KEY, peak_memory_bytes};
use tokio::sync::Barrier;

use crate::recordings::{PATIENCE, settled};

/// Recordings under way at once.
const AT_ONCE: usize = 64;

/// Size of each recording. Held in memory, all of them would take half a gigabyte.
const DATA_BYTES: u32 = 8 * 1024 * 1024;

/// Most memory of the whole process, in bytes: the program itself, and less than 1 MB for each fetch under way.
const MEMORY_MAX: u64 = 100_000_000;

/// Goal: however large recordings are, memory is bounded by how many are under way. Method: an origin makes 64
/// recordings of 8 MB as it sends them, and sends no second half before all have their first.
#[tokio::test]
async fn sixty_four_large_recordings_at_once_take_little_memory() {
    let origin = Origin::start().await;
    let together = Arc::new(Barrier::new(AT_ONCE));
    let up = Callvine::new("up")
        .env("CALLVINE_FETCH_ALLOW", "127.0.0.0/8")
        .env("CALLVINE_WORKER_CONCURRENCY", AT_ONCE.to_string())
        .env("CALLVINE_FETCH_PER_HOST", AT_ONCE.to_string());
    let mut process = up.start().await;
    let url = process.public().await;
    let provider = Provider::new(&url, TEST_KEY);
    let sound = origin.serve("/sound", Answer::Sound { data_bytes: DATA_BYTES, together });
    let calls: Vec<_> = (0..AT_ONCE).map(|_| provider.call(&sound)).collect();
    for call in provider.deliver(&calls, 8, PATIENCE).await {
        let data = settled(&url, TEST_KEY, call.id).await;
        assert_eq!(data["recording"]["status"], "stored", "{data}");
        assert_eq!(data["recording"]["attempts"], 1);
        assert_eq!(data["recording"]["size"], DATA_BYTES + 44);
    }
    let peak = peak_memory_bytes(process.pid());
    assert!(peak < MEMORY_MAX, "{peak} bytes");
    std::fs::remove_dir_all(process.directory().join("callvine-data/recordings")).unwrap();
}
