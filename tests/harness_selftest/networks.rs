//! The proxy does to connections what it says, and the provider keeps what was acknowledged.

use std::time::{Duration, Instant};

use harness::{Answer, Network, Origin, Outcome, PATIENCE, Provider, Proxy, eventually, sounds};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// How long nothing may arrive through a cut: long against the microseconds of a loopback.
const SILENCE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_cut_carries_nothing_and_loses_nothing() {
    let (proxy, mut client, mut server) = connected().await;
    client.write_all(b"a").await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'a');

    proxy.set(Network::Cut);
    client.write_all(b"b").await.unwrap();
    assert!(timeout(SILENCE, server.read_u8()).await.is_err(), "a byte passed the cut");
    // Neither does the news of an end.
    server.shutdown().await.unwrap();
    assert!(timeout(SILENCE, client.read_u8()).await.is_err(), "an end passed the cut");

    proxy.set(Network::Open);
    assert_eq!(server.read_u8().await.unwrap(), b'b');
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_reset_ends_both_sides_and_refusal_only_new_ones() {
    let (proxy, mut client, mut server) = connected().await;
    proxy.set(Network::Refusing);
    let refused = TcpStream::connect(proxy.address()).await.unwrap().read_u8().await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionReset);
    client.write_all(b"a").await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'a');
    assert_eq!(proxy.connections(), 1);

    proxy.reset();
    for side in [&mut client, &mut server] {
        assert_eq!(side.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    }
    eventually(PATIENCE, "the connection is gone", async || proxy.connections() == 0).await;
}

#[tokio::test]
async fn a_slow_network_delays() {
    let delay = Duration::from_millis(50);
    let (proxy, mut client, mut server) = connected().await;
    proxy.set(Network::Slow(delay));
    let sent_at = Instant::now();
    client.write_all(b"a").await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'a');
    assert!(sent_at.elapsed() >= delay);
}

/// A server that is away answers through the proxy as it would itself: with a reset; and its port is the proxy's when
/// it is back.
#[tokio::test]
async fn a_proxy_outlives_its_server() {
    let upstream = harness::free_port();
    let (proxy, address) = Proxy::in_front_of(&format!("http://127.0.0.1:{upstream}/path")).await;
    assert_eq!(address, format!("http://{}/path", proxy.address()));
    let error = TcpStream::connect(proxy.address()).await.unwrap().read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let listener = TcpListener::bind(("127.0.0.1", upstream)).await.unwrap();
    let _client = TcpStream::connect(proxy.address()).await.unwrap();
    timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_provider_insists_and_keeps_what_was_acknowledged() {
    let gateway = Origin::start().await;
    let created = r#"{"success": true, "data": {"id": 5}}"#;
    gateway.serve("/webhook.php", Answer::Status(400));
    let provider = Provider::new(&gateway.url(""), "key");
    let call = provider.call("https://example.com/call.wav");
    assert!(matches!(provider.post(&call).await, Outcome::Refused { status: 400, .. }));
    assert_eq!(provider.acknowledged(), []);

    let failures = vec![Answer::Status(503), Answer::Reset];
    let answer = Answer::Json { status: 201, text: created.to_owned() };
    gateway.serve_in_turn("/webhook.php", failures, answer);
    let delivered = provider.deliver(std::slice::from_ref(&call), 1, PATIENCE).await;
    assert_eq!((delivered[0].id, &delivered[0].sent), (5, &call));
    assert_eq!(provider.acknowledged(), delivered);
    let seen = gateway.seen("/webhook.php");
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[1].header("idempotency-key"), seen[3].header("idempotency-key"));
    assert_eq!(seen[3].header("x-api-key"), Some("key"));
}

#[tokio::test]
async fn sounds_are_real_and_different() {
    let found = sounds(20);
    let different: std::collections::HashSet<&str> =
        found.iter().map(|sound| sound.sha256.as_str()).collect();
    assert_eq!(different.len(), 20);
    for sound in &found {
        assert_eq!((sound.channels, sound.sample_rate), (1, 8000), "{}", sound.path.display());
        let mut soxi = std::process::Command::new("soxi");
        soxi.arg("-D").arg(&sound.path);
        let by_sox: f64 = harness::run(soxi).await.trim().parse().unwrap();
        assert!(
            (sound.duration_seconds - by_sox).abs() < 0.001,
            "{}: sox says {by_sox} s",
            sound.path.display()
        );
    }
}

/// A client and a server with a proxy between them.
async fn connected() -> (Proxy, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).await;
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (proxy, client, server)
}
