//! The naive gateway, as a careful programmer writes it first: one INSERT a request over a connection pool, with
//! prepared statements. Validation and answers are Callvine's own.
//!
//! With `--guarantee` it promises the same as Callvine: before the 201, the event is written in the call's transaction
//! and published to a quorum queue, and its row is deleted after the confirm.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use callvine_domain::api_key::Environment;
use callvine_domain::call::{Call, CallId, NewCall};
use callvine_domain::event::{CALL_CREATED, CONTENT_TYPE, Event, Events};
use chrono::{DateTime, SubsecRound as _, Utc};
use clap::Parser as _;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgExecutor, PgPool};
use yardstick::{Answer, Keys};

/// The queue that events are published to, through the default exchange.
const QUEUE: &str = "naive.recordings";

const INSERT_CALL: &str = "
insert into call_logs (client, from_phone, to_phone, handled_by, department, start_time, end_time, recording_url,
                       title, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
returning id";

const INSERT_EVENT: &str = "
insert into outbox (event_id, routing_key, body, available_at, created_at) values ($1, $2, $3, $4, $4) returning id";

/// The naive gateway
#[derive(clap::Parser)]
struct Arguments {
    /// A PostgreSQL database with Callvine's tables
    #[arg(long, value_name = "URL")]
    database_url: String,
    /// RabbitMQ, for `--guarantee`
    #[arg(long, value_name = "URL", requires = "guarantee")]
    amqp_url: Option<String>,
    /// Event and call in one transaction; published and confirmed before the answer
    #[arg(long, requires = "amqp_url")]
    guarantee: bool,
    /// Connections to PostgreSQL
    #[arg(long, value_name = "N", default_value_t = 32)]
    pool: u32,
}

#[derive(Clone)]
struct Gateway {
    keys: Keys,
    pool: PgPool,
    /// `None` without `--guarantee`.
    events: Option<Publishing>,
}

#[derive(Clone)]
struct Publishing {
    events: Events,
    channel: Channel,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // All connections are open before the first request, so that their start is not measured.
    let pool = PgPoolOptions::new()
        .min_connections(arguments.pool)
        .max_connections(arguments.pool)
        .connect(&arguments.database_url)
        .await
        .context("cannot connect to PostgreSQL")?;
    let (events, _connection) = match &arguments.amqp_url {
        None => (None, None),
        Some(url) => {
            let connection = Connection::connect(url, ConnectionProperties::default()).await?;
            let channel = confirming_channel(&connection).await?;
            let namespace =
                sqlx::query_scalar("select event_namespace from installation").fetch_one(&pool).await?;
            (Some(Publishing { events: Events::new(namespace), channel }), Some(connection))
        }
    };
    let gateway = Arc::new(Gateway { keys: Keys::default(), pool, events });
    yardstick::serve(move |request| receive(gateway.clone(), request)).await?;
    Ok(())
}

async fn confirming_channel(connection: &Connection) -> anyhow::Result<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(QUEUE.into(), durable, quorum).await?;
    Ok(channel)
}

async fn receive(gateway: Arc<Gateway>, request: Request<Incoming>) -> Answer {
    let (client, call) = match yardstick::read_call(&gateway.keys, request).await {
        Ok((client, call)) => (client, Arc::new(call)),
        Err(refusal) => return refusal,
    };
    let created_at = Utc::now().trunc_subsecs(0);
    // In a task of its own, so that the event of a stored call is published even when the client goes away.
    let storing = tokio::spawn({
        let call = call.clone();
        async move {
            match &gateway.events {
                None => insert_call(&gateway.pool, &client, &call, created_at).await,
                Some(publishing) => {
                    store_and_publish(&gateway.pool, publishing, &client, (&call, created_at)).await
                }
            }
        }
    });
    match storing.await {
        Ok(Ok(id)) => yardstick::created(id, call, created_at),
        Ok(Err(_)) | Err(_) => yardstick::failed(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Database error",
            "Failed to insert call log into database",
        ),
    }
}

async fn insert_call(
    executor: impl PgExecutor<'_>,
    client: &str,
    call: &NewCall,
    created_at: DateTime<Utc>,
) -> anyhow::Result<i64> {
    let id = sqlx::query_scalar(INSERT_CALL)
        .bind(client)
        .bind(&call.from_phone)
        .bind(&call.to_phone)
        .bind(&call.handled_by)
        .bind(&call.department)
        .bind(call.start_time)
        .bind(call.end_time)
        .bind(&call.recording_url)
        .bind(format!("Call from {} to {} (handled by {})", call.from_phone, call.to_phone, call.handled_by))
        .bind(created_at.naive_utc())
        .fetch_one(executor)
        .await?;
    Ok(id)
}

async fn store_and_publish(
    pool: &PgPool,
    publishing: &Publishing,
    client: &str,
    (call, created_at): (&Arc<NewCall>, DateTime<Utc>),
) -> anyhow::Result<i64> {
    let mut transaction = pool.begin().await?;
    let id = insert_call(&mut *transaction, client, call, created_at).await?;
    let stored = Call { id: CallId(id), call: call.clone(), created_at, env: Environment::Live };
    let event = publishing.events.call_created(&stored);
    let row: i64 = sqlx::query_scalar(INSERT_EVENT)
        .bind(event.id.to_string())
        .bind(CALL_CREATED)
        .bind(&event.body)
        .bind(created_at.timestamp_micros())
        .fetch_one(&mut *transaction)
        .await?;
    transaction.commit().await?;
    publish(&publishing.channel, &event).await?;
    sqlx::query("delete from outbox where id = $1").bind(row).execute(pool).await?;
    Ok(id)
}

/// Publishes an event and waits for its confirm; other requests use the channel meanwhile.
async fn publish(channel: &Channel, event: &Event) -> anyhow::Result<()> {
    let properties = BasicProperties::default()
        .with_content_type(CONTENT_TYPE.into())
        .with_message_id(event.id.to_string().into())
        .with_delivery_mode(2);
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let confirm =
        channel.basic_publish("".into(), QUEUE.into(), mandatory, event.body.as_bytes(), properties).await?;
    match confirm.await? {
        Confirmation::Ack(None) => Ok(()),
        _ => bail!("the broker has not taken the event"),
    }
}
