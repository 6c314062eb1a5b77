//! The long-running processes: the one place where the parts are put together, started in order and stopped in order.
//!
//! Start: database, broker, recordings, consumers, listeners. Stop: listeners drain and consumers finish what they have
//! in hand; then what was accepted is committed; then the relay publishes what it can; all within one deadline.

mod files;
mod gauges;
mod lock;
mod privacy;
mod recordings;
mod storage;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use callvine_gateway::{
    Admin, AdminListen, Gateway, Intake, KeyRing, ListenAddress, Terms, Tls, TrustedProxies,
};
use callvine_shared::bus::{BrokerUrl, Bus, Local, RabbitMq};
use callvine_shared::objects::{Address, Objects};
use callvine_shared::relay::{self, Handoff};
use callvine_shared::store::{DatabaseUrl, Store};
use callvine_worker::analysis::Analyzer;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use self::privacy::keep_new_files_private;
pub(crate) use self::recordings::recordings;
pub(crate) use self::storage::{open, open_existing};
use crate::failure::Failure;
use crate::secrets;

/// The part of a shutdown's time that is kept for its last step: publishing what was accepted.
const FLUSH_TIME: Duration = Duration::from_secs(3);

/// The parts of a process.
pub(crate) struct Plan {
    /// The public listener, if this process takes calls.
    pub(crate) gateway: Option<Public>,
    /// The worker's settings, if this process fetches recordings.
    pub(crate) worker: Option<callvine_worker::Settings>,
    /// The analyzer's settings, if this process analyses recordings.
    pub(crate) analyzer: Option<callvine_worker::analysis::Settings>,
    /// The admin listener.
    pub(crate) admin: callvine_gateway::AdminSettings,
    /// Where the embedded database and recordings are by default.
    pub(crate) data_dir: PathBuf,
    /// The database.
    pub(crate) database: DatabaseUrl,
    /// The broker, if there is one.
    pub(crate) broker: Option<BrokerUrl>,
    /// Whether the broker's replayable stream is declared.
    pub(crate) stream: bool,
    /// How long events wait while calls pour in.
    pub(crate) publish_delay: Duration,
    /// Where recordings are kept, if this process keeps them.
    pub(crate) recordings: Option<Address>,
    /// Whether the database is brought to the current schema.
    pub(crate) migrate: bool,
}

/// The public listener.
pub(crate) struct Public {
    /// Its settings.
    pub(crate) settings: callvine_gateway::Settings,
    /// Whether the published test keys are accepted.
    pub(crate) dev_keys: bool,
}

/// A process that runs.
pub(crate) struct Running {
    /// `http://…` or `https://…` of the public listener, if it has one.
    pub(crate) public_url: Option<String>,
    /// The same of the admin listener, if it has one.
    pub(crate) admin_url: Option<String>,
    /// Cancelled when a part has ended that the process can't do without.
    failed: CancellationToken,
    /// Ends the listeners and the consumers.
    accepting: CancellationToken,
    /// Ends the relay and what else serves the others.
    serving: CancellationToken,
    accepting_tasks: Vec<JoinHandle<()>>,
    serving_tasks: Vec<JoinHandle<()>>,
    bus: Bus,
    store: Store,
    /// The certificate and key of the listeners, if they speak TLS.
    tls: Option<Tls>,
    lock: Option<lock::DataLock>,
}

impl Running {
    /// Starts all parts. Returns when they are ready; waits for the database as long as `stop` is not cancelled, and
    /// not for the broker.
    pub(crate) async fn start(
        mut plan: Plan,
        metrics: PrometheusHandle,
        stop: &CancellationToken,
    ) -> Result<Option<Self>, Failure> {
        plan.admin.admin_token = admin_token(&plan.admin)?;
        plan.admin.check().map_err(Failure::of_setting)?;
        let tls = plan.admin.tls.load().map_err(Failure::of_setting)?;
        files::raise_limit(plan.gateway.as_ref().map_or(0, |public| public.settings.max_connections));
        let public = match &plan.gateway {
            Some(public) => Some(bind(public.settings.listen, "CALLVINE_LISTEN").await?),
            None => None,
        };
        let admin = match plan.admin.admin_listen {
            AdminListen::On(address) => Some(bind(address, "CALLVINE_ADMIN_LISTEN").await?),
            AdminListen::Off => None,
        };
        let lock = lock::DataLock::of_embedded(&plan.database)?;
        let store = open(&plan.database).await?;
        let (accepting, serving) = (CancellationToken::new(), CancellationToken::new());
        let bus = bus(&plan, &store);
        let objects = match &plan.recordings {
            Some(address) => {
                let objects =
                    Objects::open(address).await.context("cannot open the location of the recordings")?;
                let reserve_bytes = plan.worker.as_ref().map_or(0, |worker| worker.min_free);
                Some(objects.with_reserve(reserve_bytes))
            }
            None => None,
        };
        privacy::warn_of_open_files(&plan);
        let mut running = Self {
            public_url: public.as_ref().map(|listener| url(listener, tls.as_ref())).transpose()?,
            admin_url: admin.as_ref().map(|listener| url(listener, tls.as_ref())).transpose()?,
            tls: tls.clone(),
            failed: CancellationToken::new(),
            accepting,
            serving,
            accepting_tasks: Vec::new(),
            serving_tasks: Vec::new(),
            bus: bus.clone(),
            store: store.clone(),
            lock,
        };
        if let Some(tls) = tls {
            running.serving_tasks.push(tokio::spawn(tls.keep_current(running.serving.clone())));
        }
        if let Some(listener) = admin {
            running.serve_admin(listener, &plan, objects.clone(), metrics);
        }
        let ready = tokio::select! {
            () = stop.cancelled() => None,
            ready = storage::wait_for(&store, plan.migrate) => Some(ready?),
        };
        if ready.is_none() {
            running.stop(Duration::ZERO).await;
            return Ok(None);
        }
        running.start_parts(plan, objects, public).await?;
        Ok(Some(running))
    }

    async fn start_parts(
        &mut self,
        plan: Plan,
        objects: Option<Objects>,
        public_listener: Option<TcpListener>,
    ) -> Result<(), Failure> {
        if self.store.is_embedded() {
            self.store.release_leases(chrono::Utc::now()).await.context("cannot take over the database")?;
        }
        let handoff = Arc::new(Handoff::default());
        self.serving_tasks.push(tokio::spawn(relay::run(
            self.store.clone(),
            self.bus.clone(),
            handoff.clone(),
            plan.publish_delay,
            self.serving.clone(),
        )));
        let (store, serving) = (self.store.clone(), self.serving.clone());
        self.serving_tasks.push(tokio::spawn(gauges::run(store, objects.clone(), serving)));
        if let (Some(settings), Some(objects)) = (plan.analyzer, &objects) {
            let analyzer = Analyzer::new(&settings, self.store.clone(), objects.clone(), program()?);
            let analysing = analyzer.run(self.bus.clone(), self.accepting.clone());
            self.accepting_tasks.push(tokio::spawn(analysing));
        }
        if let (Some(settings), Some(objects)) = (plan.worker, objects.clone()) {
            let worker = callvine_worker::Worker::new(&settings, self.store.clone(), objects, program()?)
                .map_err(Failure::of_setting)?;
            let consuming = worker.run(self.bus.clone(), self.accepting.clone());
            self.accepting_tasks.push(tokio::spawn(consuming));
        }
        if let (Some(public), Some(listener)) = (plan.gateway, public_listener) {
            self.serve_public(&public, listener, handoff, objects).await?;
        }
        Ok(())
    }

    async fn serve_public(
        &mut self,
        public: &Public,
        listener: TcpListener,
        handoff: Arc<Handoff>,
        objects: Option<Objects>,
    ) -> Result<(), Failure> {
        let keys = KeyRing::load(&self.store, public.dev_keys).await.context("cannot read the API keys")?;
        let keys = Arc::new(keys);
        self.serving_tasks
            .push(tokio::spawn(keys.clone().keep_current(self.store.clone(), self.serving.clone())));
        let sweeping = callvine_gateway::sweep_marks(self.store.clone(), self.serving.clone());
        self.serving_tasks.push(tokio::spawn(sweeping));
        let (intake, committing) = Intake::start(self.store.clone(), handoff, public.settings.max_in_flight);
        let proxies = TrustedProxies::new(public.settings.trusted_proxies.clone());
        let gateway = Gateway::new(self.store.clone(), intake, keys, public.settings.max_body);
        let gateway = gateway.believing(proxies.clone()).sending(objects);
        let terms = Terms { limits: public.settings.connection_limits(), tls: self.tls.clone(), proxies };
        let accepting = self.accepting.clone();
        let failed = self.failed.clone();
        self.accepting_tasks.push(tokio::spawn(async move {
            let mut committing = committing;
            let serving = callvine_gateway::serve_public(listener, Arc::new(gateway), terms, accepting);
            // The last connection holds the last handle on the intake; without one, the intake ends when its queue is
            // empty. If it ends before, nothing can be stored any more.
            tokio::select! {
                () = serving => {}
                _ = &mut committing => {
                    tracing::error!("the intake has ended, which is a bug; ending too, to be started again");
                    return failed.cancel();
                }
            }
            if let Err(error) = committing.await {
                tracing::error!(%error, "the intake ended badly");
            }
        }));
        Ok(())
    }

    fn serve_admin(
        &mut self,
        listener: TcpListener,
        plan: &Plan,
        objects: Option<Objects>,
        metrics: PrometheusHandle,
    ) {
        let admin = Arc::new(Admin {
            store: self.store.clone(),
            bus: Some(self.bus.clone()),
            objects,
            // A gateway goes on without the broker; a worker alone has nothing to do without it.
            broker_required: plan.gateway.is_none(),
            token: plan.admin.token_digest(),
            metrics,
            draining: self.accepting.clone(),
        });
        let serving = self.serving.clone();
        self.serving_tasks.push(tokio::spawn(callvine_gateway::serve_admin(
            listener,
            admin,
            self.tls.clone(),
            serving,
        )));
    }

    /// Returns when a part has ended that the process can't do without.
    pub(crate) async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Stops in order, within `timeout`; what is not finished by then is cut off, and goes on at the next start.
    pub(crate) async fn stop(self, timeout: Duration) {
        let deadline = tokio::time::Instant::now() + timeout;
        self.accepting.cancel();
        let accepting = futures_util::future::join_all(self.accepting_tasks);
        if tokio::time::timeout_at(deadline - FLUSH_TIME.min(timeout), accepting).await.is_err() {
            tracing::warn!("not everything in hand was finished in time; it goes on at the next start");
        }
        self.serving.cancel();
        let closing = async {
            futures_util::future::join_all(self.serving_tasks).await;
            self.bus.close().await;
            self.store.close().await;
        };
        if tokio::time::timeout_at(deadline, closing).await.is_err() {
            tracing::warn!(
                "not everything in the outbox was published in time; it goes on at the next start"
            );
        }
        // A part that was cut off may still be at work, so the lock ends with the process and not before.
        std::mem::forget(self.lock);
    }
}

/// This program, for the cells. The link leads to the running program also when its file was replaced meanwhile.
fn program() -> Result<PathBuf, Failure> {
    let link = PathBuf::from("/proc/self/exe");
    if link.exists() {
        return Ok(link);
    }
    Ok(std::env::current_exe().context("cannot find the file of this program")?)
}

/// The admin listener's token, wherever it was given.
fn admin_token(admin: &callvine_gateway::AdminSettings) -> Result<Option<SecretString>, Failure> {
    let given = admin.admin_token.as_ref().map(ExposeSecret::expose_secret);
    let token = secrets::ADMIN_TOKEN.read(given, admin.admin_token_file.as_deref())?;
    Ok(token.map(SecretString::from))
}

fn bus(plan: &Plan, store: &Store) -> Bus {
    match &plan.broker {
        Some(url) => Bus::RabbitMq(RabbitMq::start(url.clone(), plan.stream)),
        None => Bus::Local(Local::new(store.clone())),
    }
}

async fn bind(ListenAddress(address): ListenAddress, variable: &str) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(address).await;
    Ok(listener.with_context(|| format!("cannot listen on {address} ({variable})"))?)
}

fn url(listener: &TcpListener, tls: Option<&Tls>) -> Result<String, Failure> {
    let address = listener.local_addr().context("a listener has no address")?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{address}"))
}
