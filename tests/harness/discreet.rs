//! Logs have nothing of the calls that were sent.

use std::fs;
use std::path::Path;

use crate::provider::{HANDLED_BY, TEST_KEY, TO_PHONE};

/// The parts of a [`Provider`](crate::Provider)'s calls, and its key, that no log may have.
const PERSONAL: [&str; 3] = [TO_PHONE, HANDLED_BY, TEST_KEY];

/// Fails the test when the log has one of them. A log that is gone already has none.
pub(crate) fn assert_discreet(log: &Path) {
    let log = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    for personal in PERSONAL {
        let line = log.lines().find(|line| line.contains(personal));
        assert_eq!(line, None, "the log has {personal}");
    }
}
