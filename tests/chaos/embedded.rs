//! The embedded set-up under fault: `callvine up` on SQLite with in-process delivery, behind an address that stays.

use std::sync::Arc;

use harness::{Callvine, Database, Ledger, Provider, Proxy, Running, TEST_KEY, Traffic, new_directory};

use crate::cluster::{LANES, NOBODY, PACE};
use crate::machine::Machine;
use crate::report::{Engine, say_reckoning};

/// How a command is changed before it is run: its variables, its volume.
pub(crate) type Adapt = Box<dyn Fn(Callvine) -> Callvine + Send + Sync>;

/// One process, its directory, and everything outside of it.
pub(crate) struct Embedded {
    pub(crate) database: Database,
    pub(crate) ledger: Ledger,
    pub(crate) provider: Arc<Provider>,
    pub(crate) process: Option<Running>,
    address: Proxy,
    adapt: Adapt,
    _machine: Machine,
}

impl Embedded {
    pub(crate) async fn start() -> Self {
        let directory = new_directory("up");
        let place = directory.clone();
        let adapt = Box::new(move |command: Callvine| command.directory(&place));
        Self::start_with(Database::embedded(&directory), adapt).await
    }

    /// With commands that are changed so, and use this database.
    pub(crate) async fn start_with(database: Database, adapt: Adapt) -> Self {
        let machine = Machine::in_company().await;
        let mut ledger = Ledger::open(None).await;
        let mut process = adapt(up()).start().await;
        let address = Proxy::start(process.public_socket().await).await;
        let provider = ledger.provider(&format!("http://{}", address.address()), TEST_KEY);
        Self { database, ledger, provider, process: Some(process), address, adapt, _machine: machine }
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic::start(&self.provider, (LANES, PACE), self.ledger.calls(&self.provider))
    }

    pub(crate) fn kill(&mut self) {
        self.take().kill();
    }

    pub(crate) async fn stop(&mut self) {
        self.take().stop().await.assert_code(0);
    }

    /// The process, which is about to end; see [`Cluster`](crate::cluster::Cluster)'s gateways.
    fn take(&mut self) -> Running {
        self.address.redirect(NOBODY);
        self.process.take().expect("the process runs")
    }

    /// Starts it again in its directory, behind the same address.
    pub(crate) async fn restart(&mut self) {
        let mut process = (self.adapt)(up()).start().await;
        self.address.redirect(process.public_socket().await);
        self.process = Some(process);
    }

    /// The reckoning, and an orderly end.
    pub(crate) async fn finish(mut self, test: &str) {
        let audit = (self.adapt)(Callvine::new("audit"));
        let reckoning = self.ledger.assert_kept(&self.database, audit).await;
        say_reckoning(Engine::Embedded, test, reckoning);
        self.stop().await;
    }
}

/// Recordings that failed are tried again soon: what failed them is over soon.
fn up() -> Callvine {
    Callvine::new("up")
        .env("CALLVINE_FETCH_ALLOW", "127.0.0.0/8")
        .env("CALLVINE_FETCH_PER_HOST", "16")
        .env("CALLVINE_FETCH_BACKOFF", "500ms")
}
