//! Clients that miss their deadlines within TLS. The clock is stopped: it jumps to the next deadline whenever every task
//! waits.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncWrite as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{unconstrained, yield_now};
use tokio::time::{Instant, pause};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connection::Connection;
use crate::requests::Requests;
use crate::stream::Stream;
use crate::tls::{Files, Tls};

/// Looks after which a flush that waits is taken to wait for the client: the system may have been slow before.
const STUCK_LOOKS: usize = 100;

/// TLS with a certificate of its own, which is for `localhost`.
fn tls() -> (TempDir, Tls, CertificateDer<'static>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let files =
        Files { certificate: directory.path().join("cert.pem"), key: directory.path().join("key.pem") };
    std::fs::write(&files.certificate, cert.pem()).unwrap();
    std::fs::write(&files.key, signing_key.serialize_pem()).unwrap();
    let tls = Tls::load(files).unwrap();
    (directory, tls, cert.into())
}

async fn connect(stream: TcpStream, trusted: CertificateDer<'static>) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// Both ends of a connection through TLS. Its client has little room.
async fn pair() -> (Connection, TlsStream<TcpStream>) {
    let (_directory, tls, certificate) = tls();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let client = socket.connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _address) = listener.accept().await.unwrap();
    let (accepted, client) = tokio::join!(tls.accept(accepted), connect(client, certificate));
    let stream = Stream::Tls(Box::new(accepted.unwrap()));
    (Connection::new(stream, Requests::new(Arc::default())), client)
}

/// Writes until the client takes no more, and TLS has the last bytes.
async fn fill(connection: &mut Connection) {
    // Without tokio's budget, by which a task that is never stuck is made to pause.
    unconstrained(async {
        let mut stuck = 0;
        while stuck < STUCK_LOOKS {
            if stuck == 0 {
                connection.write_all(&[0; 1024]).await.unwrap();
            }
            let flushed = poll_fn(|cx| Poll::Ready(Pin::new(&mut *connection).poll_flush(cx))).await;
            stuck = if flushed.is_pending() { stuck + 1 } else { 0 };
            yield_now().await;
        }
    })
    .await;
}

/// Whether so much time has passed as a client has for taking something, some of it before the clock was stopped.
fn is_write_timeout(begun: Instant) -> bool {
    (29..=30).contains(&begun.elapsed().as_secs())
}

#[tokio::test]
async fn a_client_that_does_not_take_the_last_bytes_is_let_go() {
    let (mut connection, _client) = pair().await;
    fill(&mut connection).await;
    pause();
    let begun = Instant::now();
    assert_eq!(connection.flush().await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(is_write_timeout(begun), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_client_that_does_not_take_the_farewell_is_let_go() {
    let (mut connection, _client) = pair().await;
    fill(&mut connection).await;
    pause();
    let begun = Instant::now();
    assert_eq!(connection.shutdown().await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(is_write_timeout(begun), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_handshake_is_let_go() {
    let (_directory, tls, _certificate) = tls();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _address) = listener.accept().await.unwrap();
    // The beginning of a record of TLS.
    client.write_all(&[22, 3, 1]).await.unwrap();
    pause();
    let begun = Instant::now();
    assert_eq!(tls.accept(accepted).await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(begun.elapsed().as_secs(), 10);
}
