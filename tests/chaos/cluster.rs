//! The distributed set-up under fault: gateways and workers on PostgreSQL and RabbitMQ, each server behind a network
//! that can fail, the gateways behind an address that stays.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use harness::{
    Callvine, Database, Fsync, Ledger, Postgres, Provider, Proxy, RabbitMq, Reckoning, Running, Traffic,
    new_directory,
};
use tokio::sync::OnceCell;

use crate::machine::Machine;
use crate::report::{Engine, say_reckoning};

/// Lanes of the traffic, each with one post at a time.
pub(crate) const LANES: usize = 8;
/// A lane's pace: 8 lanes at 10 calls a second are far from what the program can take, so that what happens is the
/// fault's doing.
pub(crate) const PACE: Duration = Duration::from_millis(100);

/// Where no server listens: a privileged port that is given to none.
pub(crate) const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// The PostgreSQL that tests share which don't harm it; with fsync, as in production.
pub(crate) async fn postgres() -> &'static Postgres {
    static SHARED: OnceCell<Postgres> = OnceCell::const_new();
    SHARED.get_or_init(|| Postgres::start(Fsync::On)).await
}

/// Servers' addresses, processes on them, and everything outside.
pub(crate) struct Cluster {
    /// Where the database really is, past the network that fails.
    pub(crate) database: Database,
    database_url: String,
    pub(crate) database_network: Proxy,
    broker_url: String,
    amqp_url: String,
    pub(crate) broker_network: Proxy,
    recordings: PathBuf,
    recordings_url: String,
    /// Every provider's.
    pub(crate) key: String,
    pub(crate) ledger: Ledger,
    /// In front of the gateways.
    pub(crate) address: Proxy,
    pub(crate) provider: Arc<Provider>,
    pub(crate) gateway: Option<Running>,
    pub(crate) worker: Option<Running>,
    _machine: Machine,
}

impl Cluster {
    /// On the servers that tests share.
    pub(crate) async fn start() -> Self {
        let database_url = postgres().await.database().await;
        Self::on(&database_url, &RabbitMq::shared().await.vhost().await).await
    }

    /// On the servers that tests share, with the machine for itself.
    pub(crate) async fn start_alone() -> Self {
        let database_url = postgres().await.database().await;
        Self::with(Machine::alone().await, &database_url, &RabbitMq::shared().await.vhost().await).await
    }

    /// On these servers.
    pub(crate) async fn on(database_url: &str, broker_url: &str) -> Self {
        Self::with(Machine::in_company().await, database_url, broker_url).await
    }

    /// One gateway and one worker.
    async fn with(machine: Machine, database_url: &str, broker_url: &str) -> Self {
        let (database_network, database_through) = Proxy::in_front_of(database_url).await;
        let (broker_network, amqp_url) = Proxy::in_front_of(broker_url).await;
        let recordings = new_directory("recordings");
        let recordings_url = url::Url::from_directory_path(&recordings).unwrap().into();
        let create = Callvine::new("keys").args(["create", "--client", "acme"]);
        let created = create.env("DATABASE_URL", database_url).run().await;
        created.assert_code(0);
        let key = created.stdout.trim().to_owned();
        let mut ledger = Ledger::open(Some(broker_url)).await;
        let address = Proxy::start(NOBODY).await;
        let provider = ledger.provider(&format!("http://{}", address.address()), &key);
        let mut cluster = Self {
            database: Database::new(database_url),
            database_url: database_through,
            database_network,
            broker_url: broker_url.to_owned(),
            amqp_url,
            broker_network,
            recordings,
            recordings_url,
            key,
            ledger,
            address,
            provider,
            gateway: None,
            worker: None,
            _machine: machine,
        };
        cluster.start_gateway().await;
        cluster.start_worker().await;
        cluster
    }

    /// A command on these servers.
    pub(crate) fn command(&self, command: &str) -> Callvine {
        Callvine::new(command)
            .env("DATABASE_URL", &self.database_url)
            .env("AMQP_URL", &self.amqp_url)
            .env("CALLVINE_RECORDINGS_URL", &self.recordings_url)
            .env("CALLVINE_FETCH_ALLOW", "127.0.0.0/8")
            .env("CALLVINE_FETCH_PER_HOST", "16")
    }

    /// A further gateway, which no provider knows of yet.
    pub(crate) async fn another_gateway(&self) -> Running {
        self.command("gateway").start().await
    }

    /// Starts a gateway, and sends the provider to it.
    pub(crate) async fn start_gateway(&mut self) {
        let mut gateway = self.another_gateway().await;
        self.address.redirect(gateway.public_socket().await);
        self.gateway = Some(gateway);
    }

    pub(crate) async fn start_worker(&mut self) {
        self.worker = Some(self.command("worker").start_worker().await);
    }

    /// Starts a worker that soon misses messages which were lost. The others take minutes to, so that a loss is seen.
    pub(crate) async fn start_searching_worker(&mut self) {
        let command = self.command("worker").env("CALLVINE_REQUEUE_AFTER", "2s");
        self.worker = Some(command.start_worker().await);
    }

    pub(crate) fn kill_gateway(&mut self) {
        self.take_gateway().kill();
    }

    pub(crate) async fn stop_gateway(&mut self) {
        self.take_gateway().stop().await.assert_code(0);
    }

    /// The gateway, which is about to end: its port may soon be another server's, and a client that is sent there
    /// stays.
    fn take_gateway(&mut self) -> Running {
        self.address.redirect(NOBODY);
        self.gateway.take().expect("a gateway runs")
    }

    pub(crate) fn kill_worker(&mut self) {
        self.worker.take().expect("a worker runs").kill();
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic::start(&self.provider, (LANES, PACE), self.ledger.calls(&self.provider))
    }

    /// Traffic with an `Idempotency-Key` a call.
    pub(crate) fn keyed_traffic(&self) -> Traffic {
        Traffic::start_keyed(&self.provider, (LANES, PACE), self.ledger.calls(&self.provider))
    }

    /// The database is at this address from now on; the processes are not told.
    pub(crate) fn move_database(&mut self, url: &str) {
        self.database = Database::new(url);
        let address = url::Url::parse(url).unwrap();
        let port = address.port().expect("the address has a port");
        self.database_network.redirect(([127, 0, 0, 1], port).into());
    }

    /// `callvine audit`, past the network that fails.
    pub(crate) fn audit(&self) -> Callvine {
        Callvine::new("audit")
            .env("DATABASE_URL", self.database.url())
            .env("AMQP_URL", &self.broker_url)
            .env("CALLVINE_RECORDINGS_URL", &self.recordings_url)
    }

    /// The virtual host of its broker.
    pub(crate) fn vhost(&self) -> &str {
        self.broker_url.rsplit('/').next().expect("the address has a virtual host")
    }

    /// The reckoning, and an orderly end. The recordings are removed: those of a long run are many.
    pub(crate) async fn finish(mut self, test: &str) -> Reckoning {
        let reckoning = self.ledger.assert_kept(&self.database, self.audit()).await;
        say_reckoning(Engine::Distributed, test, reckoning);
        for process in [self.gateway.take(), self.worker.take()].into_iter().flatten() {
            process.stop().await.assert_code(0);
        }
        fs::remove_dir_all(&self.recordings).unwrap();
        reckoning
    }
}
