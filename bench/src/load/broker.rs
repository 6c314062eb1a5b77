//! The broker's ceiling: one connection keeps a window of persistent messages unconfirmed at a quorum queue. It writes
//! the few frames of AMQP 0-9-1 itself: a client library would cost more than the broker's half of the work, which is
//! to be measured.

use std::collections::VecDeque;
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};

use super::Loaded;

const QUEUE: &str = "bench.events";

/// Messages not yet confirmed: enough to hide the round trip, and few enough to bound the broker's memory.
const WINDOW: usize = 2048;

/// Limit for the broker to confirm anything; after it, the broker is stuck.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

const FRAME_METHOD: u8 = 1;
const FRAME_HEADER: u8 = 2;
const FRAME_BODY: u8 = 3;
const FRAME_END: u8 = 0xce;

/// The largest frame, as RabbitMQ proposes it.
const FRAME_MAX: u32 = 131_072;

/// Class and method, as the specification numbers them.
const CONNECTION_START: (u16, u16) = (10, 10);
const CONNECTION_START_OK: (u16, u16) = (10, 11);
const CONNECTION_TUNE: (u16, u16) = (10, 30);
const CONNECTION_TUNE_OK: (u16, u16) = (10, 31);
const CONNECTION_OPEN: (u16, u16) = (10, 40);
const CONNECTION_OPEN_OK: (u16, u16) = (10, 41);
const CHANNEL_OPEN: (u16, u16) = (20, 10);
const CHANNEL_OPEN_OK: (u16, u16) = (20, 11);
const CONFIRM_SELECT: (u16, u16) = (85, 10);
const CONFIRM_SELECT_OK: (u16, u16) = (85, 11);
const BASIC_PUBLISH: (u16, u16) = (60, 40);
const BASIC_ACK: (u16, u16) = (60, 80);

/// The properties that are present: content type, delivery mode and message id.
const PROPERTY_FLAGS: u16 = 1 << 15 | 1 << 12 | 1 << 7;

/// Publishes messages like this one for some seconds.
pub(crate) async fn run(url: &str, event: String, seconds: u32) -> anyhow::Result<Loaded> {
    declare_queue(url, QUEUE).await?;
    let url = url.to_owned();
    let duration = Duration::from_secs(seconds.into());
    tokio::task::spawn_blocking(move || publish(&url, event.as_bytes(), duration)).await?
}

/// Declares a quorum queue that keeps what is published to it; nothing consumes from it.
pub(crate) async fn declare_queue(url: &str, queue: &str) -> anyhow::Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), durable, quorum).await?;
    connection.close(200, "declared".into()).await?;
    Ok(())
}

fn publish(url: &str, event: &[u8], duration: Duration) -> anyhow::Result<Loaded> {
    let mut client = Client::connect(url)?;
    let message = message(event);
    let mut window = Window::default();
    let began_at = Instant::now();
    loop {
        let is_over = began_at.elapsed() >= duration;
        while !is_over && window.outstanding < WINDOW {
            client.writer.write_all(&message)?;
            window.published();
        }
        client.writer.flush()?;
        if is_over && window.outstanding == 0 {
            break;
        }
        client.read_ack(&mut window)?;
        // Read every confirm that has arrived before publishing more.
        while !client.reader.buffer().is_empty() {
            client.read_ack(&mut window)?;
        }
    }
    Ok(Loaded {
        calls: window.confirmed,
        failures: 0,
        seconds: began_at.elapsed().as_secs_f64(),
        latency: None,
    })
}

/// The messages not yet confirmed, from the oldest on.
#[derive(Default)]
struct Window {
    is_confirmed: VecDeque<bool>,
    /// Messages before the first in `is_confirmed`; delivery tags begin at 1.
    before: u64,
    outstanding: usize,
    confirmed: u64,
}

impl Window {
    fn published(&mut self) {
        self.is_confirmed.push_back(false);
        self.outstanding += 1;
    }

    fn acknowledged(&mut self, tag: u64, multiple: bool) -> anyhow::Result<()> {
        let count = usize::try_from(tag.saturating_sub(self.before))?;
        ensure!(count <= self.is_confirmed.len(), "a confirm of what was never published");
        let first = if multiple { 0 } else { count.saturating_sub(1) };
        for is_confirmed in self.is_confirmed.iter_mut().take(count).skip(first) {
            if !*is_confirmed {
                *is_confirmed = true;
                self.outstanding -= 1;
                self.confirmed += 1;
            }
        }
        while self.is_confirmed.front() == Some(&true) {
            self.is_confirmed.pop_front();
            self.before += 1;
        }
        Ok(())
    }
}

/// A connection with one channel in confirm mode.
struct Client {
    reader: BufReader<TcpStream>,
    writer: BufWriter<TcpStream>,
}

impl Client {
    fn connect(url: &str) -> anyhow::Result<Self> {
        let (host, vhost) = url
            .rsplit_once('@')
            .and_then(|(_, place)| place.split_once('/'))
            .context("not an AMQP address")?;
        let stream = TcpStream::connect(host).context("cannot connect to RabbitMQ")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        let mut client = Self { reader: BufReader::new(stream.try_clone()?), writer: BufWriter::new(stream) };
        client.writer.write_all(b"AMQP\0\0\x09\x01")?;
        client.expect(CONNECTION_START)?;
        // No client properties; PLAIN, with the user that every node is installed with.
        let start_ok =
            [&[0; 4], short("PLAIN").as_slice(), &long(b"\0guest\0guest"), &short("en_US")].concat();
        client.send(0, CONNECTION_START_OK, &start_ok)?;
        client.expect(CONNECTION_TUNE)?;
        // One channel, no heartbeats.
        let tune_ok = [1_u16.to_be_bytes().as_slice(), &FRAME_MAX.to_be_bytes(), &[0; 2]].concat();
        client.send(0, CONNECTION_TUNE_OK, &tune_ok)?;
        client.send(0, CONNECTION_OPEN, &[short(vhost).as_slice(), &short(""), &[0]].concat())?;
        client.expect(CONNECTION_OPEN_OK)?;
        client.send(1, CHANNEL_OPEN, &short(""))?;
        client.expect(CHANNEL_OPEN_OK)?;
        client.send(1, CONFIRM_SELECT, &[0])?;
        client.expect(CONFIRM_SELECT_OK)?;
        Ok(client)
    }

    fn send(&mut self, channel: u16, method: (u16, u16), arguments: &[u8]) -> anyhow::Result<()> {
        self.writer.write_all(&frame(FRAME_METHOD, channel, &payload(method, arguments)))?;
        Ok(self.writer.flush()?)
    }

    fn expect(&mut self, expected: (u16, u16)) -> anyhow::Result<()> {
        self.writer.flush()?;
        let (method, _) = self.read_method()?;
        ensure!(method == expected, "RabbitMQ answers {method:?} where {expected:?} is due");
        Ok(())
    }

    fn read_ack(&mut self, window: &mut Window) -> anyhow::Result<()> {
        match self.read_method()? {
            (BASIC_ACK, arguments) => {
                let (tag, rest) = arguments.split_first_chunk().context("a confirm without a tag")?;
                window.acknowledged(u64::from_be_bytes(*tag), rest.first().is_some_and(|bits| bits & 1 == 1))
            }
            (method, _) => bail!("RabbitMQ answers {method:?} instead of a confirm"),
        }
    }

    fn read_method(&mut self) -> anyhow::Result<((u16, u16), Vec<u8>)> {
        let mut head = [0; 7];
        self.reader.read_exact(&mut head).context("RabbitMQ does not answer")?;
        let [kind, _, _, size @ ..] = head;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes(size))? + 1];
        self.reader.read_exact(&mut payload)?;
        ensure!(kind == FRAME_METHOD && payload.pop() == Some(FRAME_END), "an unexpected frame");
        let (class, rest) = payload.split_first_chunk().context("a frame without a class")?;
        let (method, rest) = rest.split_first_chunk().context("a frame without a method")?;
        Ok(((u16::from_be_bytes(*class), u16::from_be_bytes(*method)), rest.to_vec()))
    }
}

/// The three frames of one message.
fn message(event: &[u8]) -> Vec<u8> {
    // Reserved, the default exchange, the queue's name as the routing key, neither mandatory nor immediate.
    let publish = [&[0; 2], short("").as_slice(), &short(QUEUE), &[0]].concat();
    let header = [
        BASIC_PUBLISH.0.to_be_bytes().as_slice(),
        &[0; 2],
        &(event.len() as u64).to_be_bytes(),
        &PROPERTY_FLAGS.to_be_bytes(),
        &short("application/cloudevents+json"),
        &[2],
        &short("00000000-0000-0000-0000-000000000000"),
    ]
    .concat();
    [
        frame(FRAME_METHOD, 1, &payload(BASIC_PUBLISH, &publish)),
        frame(FRAME_HEADER, 1, &header),
        frame(FRAME_BODY, 1, event),
    ]
    .concat()
}

fn payload((class, method): (u16, u16), arguments: &[u8]) -> Vec<u8> {
    [class.to_be_bytes().as_slice(), &method.to_be_bytes(), arguments].concat()
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    [&[kind], channel.to_be_bytes().as_slice(), &size(payload), payload, &[FRAME_END]].concat()
}

fn short(text: &str) -> Vec<u8> {
    // Every text that is sent is far shorter than the 255 bytes that fit.
    [&[u8::try_from(text.len()).unwrap_or_default()], text.as_bytes()].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&size(bytes), bytes].concat()
}

fn size(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or_default().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirms_count_once_whether_single_or_multiple() {
        let mut window = Window::default();
        for _ in 0..5 {
            window.published();
        }
        window.acknowledged(2, false).unwrap();
        assert_eq!((window.confirmed, window.outstanding), (1, 4));
        window.acknowledged(4, true).unwrap();
        window.acknowledged(3, false).unwrap();
        assert_eq!((window.confirmed, window.outstanding), (4, 1));
        window.acknowledged(5, true).unwrap();
        assert_eq!((window.confirmed, window.outstanding), (5, 0));
        assert!(window.acknowledged(6, true).is_err());
    }
}
