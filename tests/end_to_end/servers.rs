//! PostgreSQL and RabbitMQ: a gateway and a worker, each a process of its own.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use harness::{Callvine, Finished, Postgres, Provider, RabbitMq, Running, eventually};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;

use crate::recordings::{PATIENCE, RECORDINGS, Recorded};

/// A queue is found empty when nothing comes for this long.
const QUIET: Duration = Duration::from_millis(500);

/// Private servers, a database and a virtual host, and the processes on them.
struct Deployment {
    database_url: String,
    amqp_url: String,
    recordings: tempfile::TempDir,
    key: String,
}

impl Deployment {
    async fn new() -> Self {
        let mut deployment = Self {
            database_url: Postgres::shared().await.database().await,
            amqp_url: RabbitMq::shared().await.vhost().await,
            recordings: tempfile::tempdir().unwrap(),
            key: String::new(),
        };
        let created: Finished = deployment.process("keys").args(["create", "--client", "acme"]).run().await;
        created.assert_code(0);
        created.stdout.trim().clone_into(&mut deployment.key);
        deployment
    }

    fn process(&self, command: &str) -> Callvine {
        Callvine::new(command).env("DATABASE_URL", &self.database_url).env("AMQP_URL", &self.amqp_url)
    }

    async fn gateway(&self) -> Running {
        self.process("gateway").start().await
    }

    async fn worker(&self) -> Running {
        let url = url::Url::from_directory_path(Path::new(self.recordings.path())).unwrap();
        let worker = self.process("worker").env("CALLVINE_RECORDINGS_URL", url.as_str());
        worker.env("CALLVINE_FETCH_ALLOW", "127.0.0.0/8").start_worker().await
    }
}

/// A subscriber of its own to all events, as the documentation tells one to be.
async fn subscribe(amqp_url: &str) -> lapin::Connection {
    let connection =
        lapin::Connection::connect(amqp_url, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("subscriber".into(), durable, FieldTable::default()).await.unwrap();
    let (queue, exchange) = ("subscriber".into(), "callvine.events".into());
    channel
        .queue_bind(queue, exchange, "#".into(), QueueBindOptions::default(), FieldTable::default())
        .await
        .unwrap();
    connection
}

/// Everything in a queue, with routing key; the queue is quiet afterwards.
async fn read_all(
    connection: &lapin::Connection,
    queue: &str,
    arguments: FieldTable,
) -> Vec<(String, Value)> {
    let channel = connection.create_channel().await.unwrap();
    channel.basic_qos(100, BasicQosOptions::default()).await.unwrap();
    let options = BasicConsumeOptions::default();
    let mut consumer = channel.basic_consume(queue.into(), "".into(), options, arguments).await.unwrap();
    let mut events = Vec::new();
    while let Ok(Some(delivery)) = tokio::time::timeout(QUIET, consumer.next()).await {
        let delivery = delivery.unwrap();
        let body: Value = serde_json::from_slice(&delivery.data).unwrap();
        let properties = &delivery.properties;
        assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/cloudevents+json");
        assert_eq!(properties.delivery_mode(), &Some(2), "persistent");
        assert_eq!(properties.message_id().as_ref().unwrap().as_str(), body["id"]);
        delivery.ack(BasicAckOptions::default()).await.unwrap();
        events.push((delivery.routing_key.to_string(), body));
    }
    events
}

fn assert_cloud_event(routing_key: &str, event: &Value) {
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["source"], "/callvine");
    assert_eq!(event["type"], format!("ai.callvine.{routing_key}"));
    assert_eq!(event["env"], "live");
    assert!(event["subject"].as_str().unwrap().starts_with("calls/"));
    chrono::DateTime::parse_from_rfc3339(event["time"].as_str().unwrap()).unwrap();
    assert!(event["data"].is_object());
}

#[tokio::test]
async fn a_hundred_real_recordings_go_all_the_way() {
    let recorded = Recorded::serve().await;
    let deployment = Deployment::new().await;
    let mut gateway = deployment.gateway().await;
    let url = gateway.public().await;
    let worker = deployment.worker().await;
    let broker = RabbitMq::shared().await;
    let vhost = deployment.amqp_url.rsplit('/').next().unwrap();
    eventually(PATIENCE, "the topology is declared", async || {
        broker.ctl(&["list_exchanges", "-p", vhost, "name"]).await.contains("callvine.events")
    })
    .await;
    let connection = subscribe(&deployment.amqp_url).await;

    let acknowledged = recorded.deliver(&Provider::new(&url, &deployment.key)).await;
    recorded.assert_all_stored(&url, &deployment.key, &acknowledged).await;
    gateway.stop().await.assert_code(0);
    worker.stop().await.assert_code(0);

    let events = read_all(&connection, "subscriber", FieldTable::default()).await;
    let mut ids: HashMap<&str, HashSet<&str>> = HashMap::new();
    for (routing_key, event) in &events {
        assert_cloud_event(routing_key, event);
        ids.entry(routing_key).or_default().insert(event["id"].as_str().unwrap());
    }
    for routing_key in ["call.created", "recording.stored", "analysis.requested"] {
        assert_eq!(ids.get(routing_key).map_or(0, HashSet::len), RECORDINGS, "{routing_key}");
    }
    assert_eq!(ids.len(), 3, "{:?}", ids.keys());
    for call in &acknowledged {
        let created =
            events.iter().find(|(key, event)| key == "call.created" && event["data"]["id"] == call.id);
        assert_eq!(created.unwrap().1["data"], call.answer["data"], "the call as in the answer");
    }
    let analyses = read_all(&connection, "callvine.analysis", FieldTable::default()).await;
    let subjects: HashSet<&str> =
        analyses.iter().map(|(_, event)| event["subject"].as_str().unwrap()).collect();
    assert_eq!((subjects.len(), analyses.len()), (RECORDINGS, RECORDINGS), "one request each");
    let mut from_the_first = FieldTable::default();
    from_the_first.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
    let replayed = read_all(&connection, "callvine.stream", from_the_first).await;
    assert_eq!(replayed.len(), events.len(), "the stream has them all");
}

#[tokio::test]
async fn a_gateway_answers_201_while_the_broker_is_away_and_tells_everything_when_it_is_back() {
    let broker = RabbitMq::start().await;
    let mut deployment = Deployment::new().await;
    deployment.amqp_url = broker.vhost().await;
    let recorded = Recorded::serve().await;
    broker.stop().await;

    let mut gateway = deployment.gateway().await;
    let url = gateway.public().await;
    let acknowledged = recorded.deliver(&Provider::new(&url, &deployment.key)).await;
    let admin = gateway.admin().await;
    let ready = harness::http_client().get(format!("{admin}/readyz")).send().await.unwrap();
    assert_eq!(ready.status().as_u16(), 200, "a broker that is away does not make a gateway unready");
    assert!(!ready.text().await.unwrap().contains("\"broker\":\"ok\""));

    broker.restart().await;
    let worker = deployment.worker().await;
    recorded.assert_all_stored(&url, &deployment.key, &acknowledged).await;
    gateway.stop().await.assert_code(0);
    worker.stop().await.assert_code(0);
}

#[tokio::test]
async fn processes_that_are_killed_lose_nothing() {
    let recorded = Recorded::serve().await;
    let deployment = Deployment::new().await;
    let mut gateway = deployment.gateway().await;
    let worker = deployment.worker().await;
    let provider = Provider::new(&gateway.public().await, &deployment.key);
    let calls = recorded.calls(&provider);
    let killing = async {
        // Not `eventually`, which looks at intervals: the burst may be over after one of them.
        while provider.acknowledged().len() < RECORDINGS / 2 {
            tokio::task::yield_now().await;
        }
        gateway.kill();
        worker.kill();
    };
    tokio::join!(provider.burst(&calls, 8), killing);

    let mut gateway = deployment.gateway().await;
    let worker = deployment.worker().await;
    let url = gateway.public().await;
    for call in provider.acknowledged() {
        let data = crate::recordings::settled(&url, &deployment.key, call.id).await;
        assert_eq!(data["recording"]["status"], "stored", "{data}");
        assert_eq!(data["from_phone"], call.sent["from_phone"]);
    }
    gateway.stop().await.assert_code(0);
    worker.stop().await.assert_code(0);
}
