//! A TCP proxy on a stable port in front of a server that is cut off, slowed down, or killed and started again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

/// Bytes taken from one side before they are given to the other.
const PIECE_BYTES: usize = 16 * 1024;

/// The state of the network between a client and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// It carries everything.
    Open,
    /// It carries everything, each piece this much later.
    Slow(Duration),
    /// It carries nothing, neither bytes nor the news that a side has closed, and loses nothing: whatever is sent
    /// arrives when it is open again. New connections are accepted, and silent.
    Cut,
    /// New connections are reset at once; those that exist live on. [`Proxy::reset`] ends these.
    Refusing,
}

/// Orders to a connection while it lives.
#[derive(Clone, Copy)]
struct Orders {
    network: Network,
    upstream: SocketAddr,
    /// Counts the calls of [`Proxy::reset`].
    resets: u64,
    /// Counts the calls of [`Proxy::strand`].
    strands: u64,
}

/// A running proxy; it ends, with its connections, when dropped or with the runtime of the test that started it.
pub struct Proxy {
    address: SocketAddr,
    orders: watch::Sender<Orders>,
    open: Arc<AtomicUsize>,
    _stop: DropGuard,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 for the server at `upstream`, which need not run yet.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (orders, _) = watch::channel(Orders { network: Network::Open, upstream, resets: 0, strands: 0 });
        let open = Arc::new(AtomicUsize::new(0));
        let connections = Connections { orders: orders.subscribe(), open: Arc::clone(&open) };
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(connections.accept(listener)));
        Self { address, orders, open, _stop: stop.drop_guard() }
    }

    /// Listens in front of the server of this address (`postgres://…`, `amqp://…`, `http://…`), and returns the
    /// address that leads through the proxy.
    ///
    /// # Panics
    /// When the address has no IP address and port, or it cannot listen.
    pub async fn in_front_of(address: &str) -> (Self, String) {
        let mut url = Url::parse(address).unwrap();
        let host = url.host_str().expect("the address has a host").parse().unwrap();
        let port = url.port_or_known_default().expect("the address has a port");
        let proxy = Self::start(SocketAddr::new(host, port)).await;
        url.set_port(Some(proxy.address.port())).unwrap();
        (proxy, url.into())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what the network does, for connections that exist and for new ones.
    pub fn set(&self, network: Network) {
        self.orders.send_modify(|orders| orders.network = network);
    }

    /// Resets every connection that exists, on both sides; new ones are carried as before.
    pub fn reset(&self) {
        self.orders.send_modify(|orders| orders.resets += 1);
    }

    /// Leaves every connection that exists hanging for ever: no byte passes any more, nor the news that a side has
    /// closed, as when a host or a firewall's memory has vanished. New ones are carried as before.
    pub fn strand(&self) {
        self.orders.send_modify(|orders| orders.strands += 1);
    }

    /// Connects new clients with this server instead; connections that exist live on.
    pub fn redirect(&self, upstream: SocketAddr) {
        self.orders.send_modify(|orders| orders.upstream = upstream);
    }

    /// How many connections clients hold at the moment.
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

/// The values that every connection shares.
#[derive(Clone)]
struct Connections {
    orders: watch::Receiver<Orders>,
    open: Arc<AtomicUsize>,
}

impl Connections {
    async fn accept(self, listener: TcpListener) {
        let mut carried = JoinSet::new();
        loop {
            let (client, _) = listener.accept().await.unwrap();
            if self.orders.borrow().network == Network::Refusing {
                client.set_zero_linger().unwrap();
                continue;
            }
            carried.spawn(self.clone().carry(client));
            while carried.try_join_next().is_some() {}
        }
    }

    /// One connection, until both sides have closed it, one of them has failed, or it is reset.
    async fn carry(mut self, mut client: TcpStream) {
        let _counted = Counted::new(Arc::clone(&self.open));
        let mut orders = self.orders.clone();
        let Orders { resets, strands, .. } = *orders.borrow();
        let reset = async { orders.wait_for(|orders| orders.resets != resets).await.map(|_| ()) };
        let mut server = None;
        let is_whole = tokio::select! {
            is_whole = self.exchange(&mut client, &mut server, strands) => is_whole,
            _ = reset => false,
        };
        if !is_whole {
            // Each side sees what it would have seen of the other itself: a reset, no orderly end.
            for side in [Some(client), server].into_iter().flatten() {
                side.set_zero_linger().ok();
            }
        }
    }

    /// Whether the connection has come to an orderly end.
    async fn exchange(
        &mut self,
        client: &mut TcpStream,
        server: &mut Option<TcpStream>,
        strands: u64,
    ) -> bool {
        if until_carried(&mut self.orders, strands).await.is_none() {
            return false;
        }
        let upstream = self.orders.borrow().upstream;
        let Ok(connected) = TcpStream::connect(upstream).await else { return false };
        let server = server.insert(connected);
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = pump(from_client, to_server, (self.orders.clone(), strands));
        let down = pump(from_server, to_client, (self.orders.clone(), strands));
        tokio::try_join!(up, down).is_ok()
    }
}

/// Carries one direction until its side closes it, and tells the other side so.
async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    (mut orders, strands): (watch::Receiver<Orders>, u64),
) -> Result<(), Broken> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let received = from.read(&mut buffer).await;
        // Before judging what was received: the news that a side has closed or failed doesn't pass a cut either.
        let delay = until_carried(&mut orders, strands).await.ok_or(Broken)?;
        sleep(delay).await;
        let count = received.map_err(|_| Broken)?;
        if count == 0 {
            return to.shutdown().await.map_err(|_| Broken);
        }
        to.write_all(buffer.get(..count).ok_or(Broken)?).await.map_err(|_| Broken)?;
    }
}

/// A side has failed; how, is nothing to a proxy.
struct Broken;

/// Waits while the network is cut, and for ever when the connection was stranded; then how long the network delays.
/// `None` when the proxy is gone. `strands` is from when the connection began.
async fn until_carried(orders: &mut watch::Receiver<Orders>, strands: u64) -> Option<Duration> {
    let is_carried = |orders: &Orders| orders.network != Network::Cut && orders.strands == strands;
    let orders = orders.wait_for(is_carried).await.ok()?;
    match orders.network {
        Network::Slow(delay) => Some(delay),
        Network::Open | Network::Refusing | Network::Cut => Some(Duration::ZERO),
    }
}

/// One connection in the count, as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
