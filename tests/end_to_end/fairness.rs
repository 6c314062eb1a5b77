//! One client's flood of recordings, slow or quick, does not keep another client's waiting.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::{Answer, Hostile, Origin, Outcome, Provider, eventually, telephone_sound};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::recordings::{PATIENCE, settled};
use crate::site::{Engine, Site, on_both_engines};

on_both_engines!(
    seventy_hosts_that_drip_keep_no_other_client_waiting,
    seventy_large_recordings_keep_no_other_client_waiting,
    a_flood_of_quick_recordings_keeps_no_other_client_waiting,
    slow_transfers_end_for_others_who_wait_and_for_nobody_else,
    recordings_that_hold_every_cell_keep_no_other_client_waiting,
    many_clients_with_long_transfers_keep_no_further_client_waiting,
);

/// The other client's key, which `up` takes on loopback too.
const OTHER_KEY: &str = "prod_key_456";

/// A queue whose messages all wait moves on after half a minute; a recording that is stored before didn't wait for that.
const SOON: Duration = Duration::from_secs(25);

/// The length of a slow flood's recordings: hours at the rates of these tests.
const LARGE_BYTES: u32 = 200_000_000;

/// More hosts than a worker has messages in hand.
const HOSTS: usize = 70;

/// Recordings of the quick flood: many times what a worker has in hand.
const FLOOD: usize = 2000;

/// Most delay of another client's first recording over the same run's baseline.
const DELAY_MAX: Duration = Duration::from_secs(10);

/// Clients with a long transfer each, for four permits and a spare one of the kind that there is for every four.
const MANY_CLIENTS: usize = 10;

/// FLAC of silence, which holds its cell for a minute.
static ENDLESS: LazyLock<Vec<u8>> = LazyLock::new(|| Hostile::endless().bytes);

/// Every address of this machine is a host of its own.
const SETTINGS: [(&str, &str); 1] = [("CALLVINE_FETCH_ALLOW", "127.0.0.0/8")];

/// A host that listens at every address of 127.0.0.0/8, and answers once its gate is open.
struct Gated {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    gate: watch::Sender<bool>,
    _connections: JoinSet<()>,
}

/// The length of a recording, and how it is sent.
#[derive(Clone, Copy)]
enum Pace {
    /// A second of sound, at once.
    AtOnce,
    /// [`ENDLESS`], at once.
    Endless,
    /// [`LARGE_BYTES`], so many of them ten times a second.
    Drip(usize),
}

impl Gated {
    async fn start(pace: Pace) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (gate, opened) = watch::channel(false);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut running = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (opened, asked) = (opened.clone(), Arc::clone(&count));
                running.spawn(async move {
                    // A client that has had enough hangs up.
                    answer(stream, pace, opened, &asked).await.ok();
                });
                while running.try_join_next().is_some() {}
            }
        });
        Self { address, asked, gate, _connections: connections }
    }

    /// A recording at one of its addresses.
    fn url(&self, number: usize) -> String {
        format!("http://127.0.{}.{}:{}/{number}", number / 200, number % 200 + 1, self.address.port())
    }

    fn open(&self) {
        self.gate.send_replace(true);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn answer(
    mut stream: TcpStream,
    pace: Pace,
    mut opened: watch::Receiver<bool>,
    asked: &AtomicUsize,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    asked.fetch_add(1, Ordering::SeqCst);
    opened.wait_for(|is_open| *is_open).await.map_err(std::io::Error::other)?;
    let head =
        |length: u64| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    match pace {
        Pace::AtOnce | Pace::Endless => {
            let second = telephone_sound(1);
            let file = if matches!(pace, Pace::AtOnce) { &second } else { &*ENDLESS };
            stream.write_all(head(file.len() as u64).as_bytes()).await?;
            stream.write_all(file).await?;
            stream.shutdown().await
        }
        Pace::Drip(bytes) => {
            stream.write_all(head(LARGE_BYTES.into()).as_bytes()).await?;
            let (mut ticks, piece) = (tokio::time::interval(Duration::from_millis(100)), vec![0; bytes]);
            loop {
                ticks.tick().await;
                stream.write_all(&piece).await?;
            }
        }
    }
}

/// Posts one good recording of another client's, and returns how long it took until it was stored.
async fn stored_for_another(site: &Site, origin: &Origin, path: &str) -> Duration {
    let provider = Provider::new(&site.url, OTHER_KEY);
    let call = provider.call(&origin.serve(path, Answer::wav(telephone_sound(1))));
    let began = Instant::now();
    let posted = provider.deliver(&[call], 1, PATIENCE).await;
    let recording = settled(&site.url, OTHER_KEY, posted[0].id).await["recording"].clone();
    let took = began.elapsed();
    let said = (&recording["status"], &recording["attempts"]);
    assert_eq!(said, (&"stored".into(), &1.into()), "{recording}");
    println!("another client's recording was stored after {took:.1?}");
    took
}

/// How long another client's recording takes while nobody else has any. The first one may wait until the broker's queues
/// are there.
async fn baseline(site: &Site, origin: &Origin) -> Duration {
    stored_for_another(site, origin, "/warm-up").await;
    stored_for_another(site, origin, "/baseline").await
}

async fn count(site: &Site, rest: &'static str) -> usize {
    usize::try_from(site.engine.database().count(rest).await.unwrap()).unwrap()
}

/// Slower than 1 kB/s, a recording would be given up whoever waits.
async fn seventy_hosts_that_drip_keep_no_other_client_waiting(engine: Engine) {
    seventy_recordings_keep_no_other_client_waiting(engine, 120).await;
}

/// Fast enough to be left alone, whoever waits.
async fn seventy_large_recordings_keep_no_other_client_waiting(engine: Engine) {
    seventy_recordings_keep_no_other_client_waiting(engine, 6000).await;
}

/// Method: the recordings of 70 hosts fill all permits and all messages in hand, for hours, before the other client's
/// calls come.
async fn seventy_recordings_keep_no_other_client_waiting(engine: Engine, bytes: usize) {
    let site = engine.up(&SETTINGS).await;
    let (slow, origin) = (Gated::start(Pace::Drip(bytes)).await, Origin::start().await);
    slow.open();
    let urls: Vec<String> = (0..HOSTS).map(|number| slow.url(number)).collect();
    site.post(&urls).await;
    eventually(PATIENCE, "the slow hosts are asked", async || slow.asked() >= 16).await;
    for number in 0..3 {
        let took = stored_for_another(&site, &origin, &format!("/{number}")).await;
        assert!(took < SOON, "{took:?}");
    }
    drop(slow);
    site.stop().await;
}

/// Method: the flood's hosts answer nothing until all of it is posted, then everything at once. The other client's call
/// comes after that, and its message is the last in the queue.
async fn a_flood_of_quick_recordings_keeps_no_other_client_waiting(engine: Engine) {
    let site = engine.up(&SETTINGS).await;
    let (flood, origin) = (Gated::start(Pace::AtOnce).await, Origin::start().await);
    let urls: Vec<String> = (0..FLOOD).map(|number| flood.url(number)).collect();
    site.post(&urls).await;
    eventually(PATIENCE, "the flood's hosts are asked", async || flood.asked() >= 16).await;
    flood.open();
    stored_for_another(&site, &origin, "/call.wav").await;
    let waiting = count(&site, "from recordings where status = 'pending'").await;
    assert!(waiting > FLOOD / 10, "it came with the end of the flood: {waiting} were left");
    eventually(PATIENCE * 2, "the flood is stored as well", async || {
        count(&site, "from recordings where status = 'stored'").await == FLOOD + 1
    })
    .await;
    site.stop().await;
}

/// Method: one client's slow transfers have the four permits and wait for more; another one's first has the spare one, and
/// its others are too many for it.
async fn slow_transfers_end_for_others_who_wait_and_for_nobody_else(engine: Engine) {
    let settings = [SETTINGS[0], ("CALLVINE_WORKER_CONCURRENCY", "4")];
    let site = engine.up(&settings).await;
    let slow = Gated::start(Pace::Drip(300)).await;
    slow.open();
    let urls: Vec<String> = (0..6).map(|number| slow.url(number)).collect();
    site.post(&urls).await;
    eventually(PATIENCE, "the slow hosts are asked", async || slow.asked() == 4).await;
    assert_eq!(count(&site, "from recordings where attempts > 0").await, 0, "nobody else waits");
    let provider = Provider::new(&site.url, OTHER_KEY);
    let calls: Vec<Value> = (6..9).map(|number| provider.call(&slow.url(number))).collect();
    provider.deliver(&calls, 1, PATIENCE).await;
    let ended =
        "from recordings where attempts = 1 and reason = 'timeout' and last_error like '%of others wait'";
    eventually(PATIENCE, "a slow transfer ends for the others", async || count(&site, ended).await > 0).await;
    let of_the_others = "from recordings r join call_logs c on c.id = r.call_id
        where c.client = 'production' and r.attempts > 0";
    assert_eq!(count(&site, of_the_others).await, 0, "whoever holds less than others is left alone");
    drop(slow);
    site.stop().await;
}

/// Method: each of the flood's files holds a cell for as long as a proof may last, and there are more of them than cells.
/// The spare cell is for the others.
async fn recordings_that_hold_every_cell_keep_no_other_client_waiting(engine: Engine) {
    let site = engine.up(&SETTINGS).await;
    let (flood, origin) = (Gated::start(Pace::Endless).await, Origin::start().await);
    let baseline = baseline(&site, &origin).await;
    let processors = std::thread::available_parallelism().unwrap().get();
    let urls: Vec<String> = (0..processors * 2 + 2).map(|number| flood.url(number)).collect();
    LazyLock::force(&ENDLESS);
    flood.open();
    site.post(&urls).await;
    let full = format!("callvine_proofs_running {processors}");
    eventually(PATIENCE, "the flood holds all the cells that it may", async || {
        site.metrics_text().await.lines().any(|line| line == full)
    })
    .await;
    for number in 0..3 {
        let took = stored_for_another(&site, &origin, &format!("/{number}")).await;
        assert!(took < baseline + DELAY_MAX, "{took:?}, and {baseline:?} before the flood");
    }
    let pending = count(&site, "from recordings where status = 'pending'").await;
    assert!(pending > processors, "the flood has ended meanwhile: {pending} are left");
    // An orderly stop would wait for the cells.
    site.kill();
}

/// Method: there are more clients than permits and spare ones of the kind that proofs have, and each has a transfer that is
/// fast enough to be left alone.
async fn many_clients_with_long_transfers_keep_no_further_client_waiting(engine: Engine) {
    let settings = [SETTINGS[0], ("CALLVINE_WORKER_CONCURRENCY", "4")];
    let site = engine.up(&settings).await;
    let (slow, origin) = (Gated::start(Pace::Drip(6000)).await, Origin::start().await);
    slow.open();
    let baseline = baseline(&site, &origin).await;
    let clients: Vec<String> = (0..MANY_CLIENTS).map(|number| format!("client-{number}")).collect();
    let keys = join_all(clients.iter().map(|client| site.new_key(client))).await;
    for (number, key) in keys.iter().enumerate() {
        let provider = Provider::new(&site.url, key);
        let call = provider.call(&slow.url(number));
        // The gateway looks for new keys now and then.
        eventually(PATIENCE, "the new key counts", async || {
            matches!(provider.post(&call).await, Outcome::Acknowledged(_))
        })
        .await;
    }
    eventually(PATIENCE, "each client has its transfer", async || slow.asked() == MANY_CLIENTS).await;
    for number in 0..3 {
        let took = stored_for_another(&site, &origin, &format!("/{number}")).await;
        assert!(took < baseline + DELAY_MAX, "{took:?}, and {baseline:?} before the flood");
    }
    assert_eq!(count(&site, "from recordings where attempts > 0").await, 5, "no transfer was ended");
    drop(slow);
    site.stop().await;
}
