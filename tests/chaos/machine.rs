//! Tests that measure, and tests that mostly wait, in one binary: who measures waits until it is alone.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::const_new(());

/// A test's share of the machine, as long as it lasts.
#[expect(dead_code, reason = "held for their locks")]
pub(crate) enum Machine {
    InCompany(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

impl Machine {
    pub(crate) async fn in_company() -> Self {
        Self::InCompany(MACHINE.read().await)
    }

    pub(crate) async fn alone() -> Self {
        Self::Alone(MACHINE.write().await)
    }
}
