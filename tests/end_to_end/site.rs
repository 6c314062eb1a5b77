//! A running Callvine on either engine, with everything small and quick that makes a test wait.

use std::path::Path;

use futures_util::{StreamExt, stream};
use harness::{Acknowledged, Callvine, Database, Postgres, Provider, RabbitMq, Running, Signal, TEST_KEY};
use serde_json::Value;

use crate::recordings::PATIENCE;

/// Posts, and questions, that are under way at once.
const AT_ONCE: usize = 16;

/// Instantiates every test for SQLite with in-process delivery, and for PostgreSQL with RabbitMQ.
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::site::Engine::embedded()).await;
            })+
        }
        mod servers {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::site::Engine::servers().await).await;
            })+
        }
    };
}

pub(crate) use on_both_engines;

/// The servers under a site.
pub(crate) struct Engine {
    directory: std::path::PathBuf,
    /// Database and broker; none: SQLite and in-process delivery.
    servers: Option<(String, String)>,
}

impl Engine {
    pub(crate) fn embedded() -> Self {
        Self { directory: harness::new_directory("site"), servers: None }
    }

    pub(crate) async fn servers() -> Self {
        let database = Postgres::shared().await.database().await;
        let broker = RabbitMq::shared().await.vhost().await;
        Self { directory: harness::new_directory("site"), servers: Some((database, broker)) }
    }

    /// The broker's address, if there is one.
    pub(crate) fn amqp_url(&self) -> Option<&str> {
        self.servers.as_ref().map(|(_, broker)| broker.as_str())
    }

    /// The program, to be run on this engine.
    pub(crate) fn command(&self, command: &str) -> Callvine {
        let callvine = Callvine::new(command).directory(&self.directory);
        match &self.servers {
            Some((database, broker)) => callvine.env("DATABASE_URL", database).env("AMQP_URL", broker),
            None => callvine,
        }
    }

    pub(crate) fn database(&self) -> Database {
        match &self.servers {
            Some((database, _)) => Database::new(database),
            None => Database::embedded(Path::new(&self.directory)),
        }
    }

    /// Everything in one process, with these settings beside.
    pub(crate) async fn up(self, settings: &[(&str, &str)]) -> Site {
        let mut up = self.command("up").env("CALLVINE_FETCH_ALLOW", "127.0.0.1/32");
        for (name, value) in settings {
            up = up.env(name, value);
        }
        let mut process = up.start().await;
        let (url, admin) = (process.public().await, process.admin().await);
        Site { engine: self, process, url, admin, client: harness::http_client() }
    }
}

/// A running site.
pub(crate) struct Site {
    pub(crate) engine: Engine,
    process: Running,
    pub(crate) url: String,
    admin: String,
    client: reqwest::Client,
}

impl Site {
    /// Where its metrics are.
    pub(crate) fn metrics(&self) -> String {
        format!("{}/metrics", self.admin)
    }

    /// Its metrics.
    pub(crate) async fn metrics_text(&self) -> String {
        self.client.get(self.metrics()).send().await.unwrap().text().await.unwrap()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> rustix::process::Pid {
        self.process.pid()
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(self) -> Engine {
        self.process.kill();
        self.engine
    }

    /// Where it runs, with its data below.
    pub(crate) fn directory(&self) -> &Path {
        &self.engine.directory
    }

    /// The most memory that the process has had so far.
    pub(crate) fn peak_memory_bytes(&self) -> u64 {
        harness::peak_memory_bytes(self.process.pid())
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        self.process.stderr()
    }

    /// Posts a call for each recording; the ids are in their order.
    pub(crate) async fn post(&self, recordings: &[String]) -> Vec<i64> {
        let provider = Provider::new(&self.url, TEST_KEY);
        let calls: Vec<Value> = recordings.iter().map(|url| provider.call(url)).collect();
        let acknowledged = provider.deliver(&calls, AT_ONCE, PATIENCE).await;
        acknowledged.into_iter().map(|Acknowledged { id, .. }| id).collect()
    }

    /// The call as `GET /calls/ID` shows it.
    pub(crate) async fn call(&self, id: i64) -> Value {
        let url = format!("{}/calls/{id}", self.url);
        let answer = self.client.get(url).header("X-API-Key", TEST_KEY).send().await.unwrap();
        let text = answer.text().await.unwrap();
        serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{error}: {text}"))["data"].clone()
    }

    /// Waits until the recording is settled, and returns its state.
    pub(crate) async fn settled(&self, id: i64) -> Value {
        let settled = crate::recordings::settled_as_asked_by(&self.client, &self.url, TEST_KEY, id);
        settled.await["recording"].clone()
    }

    /// Waits until the recording, which may have been given up before, is stored.
    pub(crate) async fn stored(&self, id: i64) -> Value {
        harness::obtained(PATIENCE, "the recording is stored", async || {
            let recording = self.call(id).await["recording"].clone();
            (recording["status"] == "stored").then_some(recording)
        })
        .await
    }

    /// Waits until all are settled; their states are in the order of the ids.
    pub(crate) async fn all_settled(&self, ids: &[i64]) -> Vec<Value> {
        stream::iter(ids).map(|id| self.settled(*id)).buffered(AT_ONCE).collect().await
    }

    /// Stops in an orderly way.
    pub(crate) async fn stop(self) -> Engine {
        self.process.stop().await.assert_code(0);
        self.engine
    }

    /// Tells it to stop, without waiting for the end.
    pub(crate) fn begin_stop(&mut self) {
        self.process.signal(Signal::TERM);
    }

    /// Fails the test unless it still runs.
    pub(crate) fn assert_running(&mut self) {
        self.process.assert_running();
    }

    /// Waits for the end of a stop that has begun.
    pub(crate) async fn stopped(self) -> Engine {
        self.process.wait().await.assert_code(0);
        self.engine
    }

    /// A key for another client of this name.
    pub(crate) async fn new_key(&self, client: &str) -> String {
        let created =
            self.engine.command("keys").args(["create", "--client", client, "--env", "test"]).run().await;
        created.assert_code(0);
        created.stdout.trim().to_owned()
    }

    /// Runs `callvine dead-letters …` beside the site; its lines as JSON.
    pub(crate) async fn dead_letters(&self, arguments: &[&str]) -> Vec<Value> {
        let finished = self.engine.command("dead-letters").args(arguments).arg("--json").run().await;
        finished.assert_code(0);
        finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
