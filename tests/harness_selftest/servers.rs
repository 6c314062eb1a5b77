//! PostgreSQL and RabbitMQ: isolation, kill, restart.

use harness::{Fsync, PATIENCE, Postgres, Proxy, RabbitMq, obtained};
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation};
use sqlx::{Connection, PgConnection};

#[tokio::test]
async fn databases_of_one_server_are_apart() {
    let server = Postgres::shared().await;
    let (first, second) = tokio::join!(server.database(), server.database());
    assert_ne!(first, second);
    for url in [first, second] {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::query("create table only_here (id int)").execute(&mut connection).await.unwrap();
    }
}

#[tokio::test]
async fn a_killed_postgres_keeps_what_was_committed() {
    let server = Postgres::start(Fsync::On).await;
    let (_proxy, url) = Proxy::in_front_of(&server.database().await).await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::query("create table kept (id int)").execute(&mut connection).await.unwrap();
    sqlx::query("insert into kept values (7)").execute(&mut connection).await.unwrap();

    server.kill().await;
    sqlx::query("select 1").execute(&mut connection).await.unwrap_err();
    PgConnection::connect(&url).await.unwrap_err();

    server.restart().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let id: i32 = sqlx::query_scalar("select id from kept").fetch_one(&mut connection).await.unwrap();
    assert_eq!(id, 7);
    // A client that stays connected does not keep the server from stopping.
    server.stop().await;
    PgConnection::connect(&url).await.unwrap_err();
}

#[tokio::test]
async fn vhosts_of_one_broker_are_apart() {
    let server = RabbitMq::shared().await;
    let (first, second) = tokio::join!(server.vhost(), server.vhost());
    assert_ne!(first, second);
    let channel = channel(&first).await;
    declare_quorum_queue(&channel).await;
    assert!(server.ctl(&["list_vhosts"]).await.contains("test_0"));
}

#[tokio::test]
async fn a_killed_broker_keeps_what_was_confirmed() {
    let server = RabbitMq::start().await;
    let (_proxy, url) = Proxy::in_front_of(&server.vhost().await).await;
    let publisher = channel(&url).await;
    declare_quorum_queue(&publisher).await;
    publish(&publisher).await;

    server.kill().await;
    tokio::net::TcpStream::connect(("127.0.0.1", server.port())).await.unwrap_err();
    server.restart().await;
    assert_eq!(take(&url).await, "kept");

    server.restart().await;
    channel(&url).await;
}

async fn channel(url: &str) -> Channel {
    let connection = lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel
}

async fn declare_quorum_queue(channel: &Channel) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), lapin::types::AMQPValue::LongString("quorum".into()));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("kept".into(), options, arguments).await.unwrap();
}

async fn publish(channel: &Channel) {
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sent = channel.basic_publish("".into(), "kept".into(), options, b"kept", persistent).await.unwrap();
    assert_eq!(sent.await.unwrap(), Confirmation::Ack(None));
}

/// The next message of the queue `kept`, as text. A quorum queue elects its leader after the broker's start; until then
/// a look may end the channel, so each has its own.
async fn take(url: &str) -> String {
    obtained(PATIENCE, "a message is in the queue", async || {
        let got = channel(url).await.basic_get("kept".into(), BasicGetOptions { no_ack: true }).await;
        Some(String::from_utf8(got.ok()??.delivery.data).unwrap())
    })
    .await
}
