//! Has bytes proved as the worker has a fetched file.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Fails on facts that can't be.
pub(crate) fn prove(bytes: &[u8]) {
    let mut file = tempfile::tempfile().expect("there is room for a file");
    file.write_all(bytes).expect("there is room for a file");
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    let Ok(facts) = callvine_audio::prove(Path::new(&name)) else { return };
    assert!(facts.duration_seconds.is_finite() && facts.duration_seconds > 0.0, "{facts:?}");
    assert!((1..=32).contains(&facts.channels), "{facts:?}");
    assert!((1..=768_000).contains(&facts.sample_rate), "{facts:?}");
}
