//! The embedded set-up under fault: `callvine up` on SQLite with in-process delivery, behind an address that stays.

use std::path::PathBuf;
use std::sync::Arc;

use harness::{Callvine, Database, Ledger, Provider, Proxy, Running, Traffic, new_directory};

use crate::cluster::{LANES, PACE};

const KEY: &str = "test_key_123";

/// One process, its directory, and everything outside of it.
pub(crate) struct Embedded {
    pub(crate) directory: PathBuf,
    pub(crate) ledger: Ledger,
    pub(crate) provider: Arc<Provider>,
    pub(crate) process: Option<Running>,
    address: Proxy,
    environment: Vec<(&'static str, String)>,
}

impl Embedded {
    pub(crate) async fn start() -> Self {
        Self::start_with(Vec::new()).await
    }

    /// With these variables in the process' environment.
    pub(crate) async fn start_with(environment: Vec<(&'static str, String)>) -> Self {
        let directory = new_directory("up");
        let mut ledger = Ledger::open(None).await;
        let mut process = up(&environment).directory(&directory).start().await;
        let address = Proxy::start(process.public_socket().await).await;
        let provider = ledger.provider(&format!("http://{}", address.address()), KEY);
        Self { directory, ledger, provider, process: Some(process), address, environment }
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic::start(&self.provider, (LANES, PACE), self.ledger.calls(&self.provider))
    }

    pub(crate) fn kill(&mut self) {
        self.process.take().expect("the process runs").kill();
    }

    /// Starts it again in its directory, behind the same address.
    pub(crate) async fn restart(&mut self) {
        let mut process = up(&self.environment).directory(&self.directory).start().await;
        self.address.redirect(process.public_socket().await);
        self.process = Some(process);
    }

    pub(crate) fn database(&self) -> Database {
        Database::embedded(&self.directory)
    }

    /// The reckoning, and an orderly end.
    pub(crate) async fn finish(mut self, test: &str) {
        let audit = Callvine::new("audit").directory(&self.directory);
        let reckoning = self.ledger.assert_kept(&self.database(), audit).await;
        println!("{test}: {reckoning}");
        self.process.take().expect("the process runs").stop().await.assert_code(0);
    }
}

fn up(environment: &[(&'static str, String)]) -> Callvine {
    let up =
        Callvine::new("up").env("CALLVINE_FETCH_ALLOW", "127.0.0.0/8").env("CALLVINE_FETCH_PER_HOST", "16");
    environment.iter().fold(up, |up, (name, value)| up.env(name, value))
}
