//! `callvine prove`, which a worker starts: one of the cells in which strangers' recordings are read.

use anyhow::Context;
use callvine_shared::cell;

use crate::failure::Failure;

/// Serves the worker that has started this process until it closes the socket. There is no runtime here, no log and no
/// second thread: nothing that a file could get at.
pub(crate) fn run() -> Result<(), Failure> {
    Ok(cell::serve().context("cannot read recordings (a worker starts this command)")?)
}
