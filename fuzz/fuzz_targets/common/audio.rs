//! Reads bytes as the worker reads a fetched file.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Fails on impossible facts, and on blocks of samples that break the promises made to listeners.
pub(crate) fn read(bytes: &[u8]) {
    let mut file = tempfile::tempfile().expect("there is room for a file");
    file.write_all(bytes).expect("there is room for a file");
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut heard = None;
    let read = callvine_audio::read(Path::new(&name), &mut |shape, samples| {
        assert!(!samples.is_empty() && samples.len().is_multiple_of(usize::from(shape.channels)));
        assert_eq!(*heard.get_or_insert(shape), shape);
    });
    let Ok(facts) = read else { return };
    assert!(facts.duration_seconds.is_finite() && facts.duration_seconds > 0.0, "{facts:?}");
    assert!((1..=32).contains(&facts.shape.channels), "{facts:?}");
    assert!((1..=768_000).contains(&facts.shape.sample_rate), "{facts:?}");
    assert!(heard.is_none_or(|shape| shape == facts.shape), "{facts:?}");
}
