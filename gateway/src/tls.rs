//! TLS of the listeners: certificate and key from two files, read again when they change.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use callvine_shared::error_chain::Chain;
use callvine_shared::pause::pause;
use parking_lot::RwLock;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Longest handshake. A client needs two round trips and some arithmetic.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Longest file of certificates, or of a key: some dozens of certificates.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// The protocols that are offered (ALPN, RFC 7301), the best one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The certificate and the key by which a listener proves who it is. Cheap to clone.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    files: Files,
    /// The files before they were read for the first time.
    seen: [Option<Seen>; 2],
    current: RwLock<Arc<ServerConfig>>,
}

impl std::fmt::Debug for Tls {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.0.files).finish_non_exhaustive()
    }
}

/// The two PEM files.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate, and those of the authorities between it and one that clients know.
    pub certificate: PathBuf,
    /// Its private key, not encrypted.
    pub key: PathBuf,
}

/// A file's state, which differs after every change: a new file under the same name, also one behind a link, has another
/// number, and a write or a change of its rights sets the time of the last change of its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Seen {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`] when they can't be used.
    pub fn load(files: Files) -> Result<Self, TlsError> {
        let seen = files.seen();
        let config = files.config()?;
        Ok(Self(Arc::new(Shared { files, seen, current: RwLock::new(Arc::new(config)) })))
    }

    /// Reads the files again whenever they have changed, until `shutdown`. While they can't be used, as between the writing of
    /// the one and of the other, the last ones stay. Connections that stand go on with what they began with.
    pub async fn keep_current(self, shutdown: CancellationToken) {
        let mut seen = self.0.seen;
        while pause(LOOK_INTERVAL, &shutdown).await {
            let tls = self.clone();
            // A file may be on a network's disk that hangs.
            match tokio::task::spawn_blocking(move || tls.look(seen)).await {
                Ok(now) => seen = now,
                Err(error) => error!(%error, "looking at the certificate ended badly"),
            }
        }
    }

    /// Reads the files again unless they are as they were `seen`; returns how they are now.
    fn look(&self, seen: [Option<Seen>; 2]) -> [Option<Seen>; 2] {
        let Shared { files, current, .. } = &*self.0;
        // Before they are read: a change meanwhile is seen at the next look.
        let now = files.seen();
        if now == seen {
            return now;
        }
        match files.config() {
            Ok(config) => {
                *current.write() = Arc::new(config);
                info!("the certificate in {} is in use from now on", files.certificate.display());
            }
            Err(error) => {
                warn!("the new certificate can't be used, the last one stays: {}", Chain(&error));
            }
        }
        now
    }

    /// Agrees with a client on keys.
    ///
    /// # Errors
    /// The client speaks no TLS, or none of the versions and protocols that are spoken here, or takes too long.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.0.current.read()));
        match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(accepted) => accepted,
            Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Files {
    fn seen(&self) -> [Option<Seen>; 2] {
        [&self.certificate, &self.key].map(|path| path.metadata().ok().as_ref().map(Seen::of))
    }

    fn config(&self) -> Result<ServerConfig, TlsError> {
        let certificates: Vec<_> =
            CertificateDer::pem_reader_iter(open("CALLVINE_TLS_CERT", &self.certificate)?)
                .collect::<Result<_, _>>()
                .map_err(|error| TlsError::Certificate(self.certificate.clone(), error.to_string()))?;
        if certificates.is_empty() {
            return Err(TlsError::Certificate(self.certificate.clone(), "it has none in it".to_owned()));
        }
        let validity = validity(&certificates);
        let key = PrivateKeyDer::from_pem_reader(open("CALLVINE_TLS_KEY", &self.key)?)
            .map_err(|error| TlsError::Key(self.key.clone(), error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(TlsError::Pair)?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        if let Err(error) = validity {
            warn!("clients will refuse the certificate in {}: {error}", self.certificate.display());
        }
        Ok(config)
    }
}

fn open(variable: &'static str, path: &Path) -> Result<BufReader<io::Take<File>>, TlsError> {
    let unreadable = |source| TlsError::Unreadable { variable, path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    Ok(BufReader::new(file.take(FILE_MAX_BYTES)))
}

/// Whether the first certificate is valid at this moment. A start goes on without: clients that don't look would lose a
/// service that they have.
fn validity(certificates: &[CertificateDer<'static>]) -> Result<(), CertificateError> {
    let Some((certificate, authorities)) = certificates.split_first() else { return Ok(()) };
    // The time is judged before the issuer and the name, so that any issuer and name will do.
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates([certificate.clone()]);
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let (Ok(verifier), Ok(name)) = (verifier, ServerName::try_from("localhost")) else { return Ok(()) };
    match verifier.verify_server_cert(certificate, authorities, &name, &[], UnixTime::now()) {
        Err(rustls::Error::InvalidCertificate(
            error @ (CertificateError::ExpiredContext { .. } | CertificateError::NotValidYetContext { .. }),
        )) => Err(error),
        _ => Ok(()),
    }
}

/// Why TLS can't be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{variable}={} can't be read", path.display())]
    Unreadable {
        /// The variable that names it.
        variable: &'static str,
        /// Its name.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// There is no usable certificate.
    #[error("CALLVINE_TLS_CERT={} must hold a certificate in PEM, and those of the authorities above it: {}", .0.display(), .1)]
    Certificate(PathBuf, String),
    /// There is no usable key.
    #[error("CALLVINE_TLS_KEY={} must hold a private key in PEM that is not encrypted: {}", .0.display(), .1)]
    Key(PathBuf, String),
    /// The key is not the certificate's.
    #[error("CALLVINE_TLS_CERT and CALLVINE_TLS_KEY must hold a certificate and its own key")]
    Pair(#[source] rustls::Error),
}
