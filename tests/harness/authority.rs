//! A private certificate authority, as companies have for their own networks.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Now.
    Now,
    /// Until yesterday.
    Past,
    /// From tomorrow on.
    Future,
}

/// An authority with a key of its own.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, which is in nobody's list.
    ///
    /// # Panics
    /// When its certificate cannot be made.
    #[expect(clippy::new_without_default, reason = "makes a key, which no default should")]
    pub fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().unwrap();
        Self { issuer: CertifiedIssuer::self_signed(parameters, key).unwrap() }
    }

    /// Its own certificate, as administrators hand it round.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The TLS settings of a server with this name or address: a certificate of this authority, and its key.
    ///
    /// # Panics
    /// When the certificate cannot be made.
    pub fn certify(&self, host: &str, validity: Validity) -> ServerConfig {
        let (certificate, key) = self.issue(host, validity);
        server(certificate, &key)
    }

    /// The PEM files of such a server: its certificate, and its key.
    ///
    /// # Panics
    /// When the certificate cannot be made.
    pub fn files(&self, host: &str, validity: Validity) -> [String; 2] {
        let (certificate, key) = self.issue(host, validity);
        [certificate.pem(), key.serialize_pem()]
    }

    fn issue(&self, host: &str, validity: Validity) -> (rcgen::Certificate, KeyPair) {
        let mut parameters = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let now = SystemTime::now();
        let (begins, ends) = match validity {
            Validity::Now => (now - DAY, now + DAY),
            Validity::Past => (now - 9 * DAY, now - DAY),
            Validity::Future => (now + DAY, now + 9 * DAY),
        };
        (parameters.not_before, parameters.not_after) = (begins.into(), ends.into());
        // With its authority's name OpenSSL would take it for self-signed.
        parameters.distinguished_name.push(DnType::CommonName, host);
        let key = KeyPair::generate().unwrap();
        (parameters.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

/// The TLS settings of a server whose certificate no authority has signed.
///
/// # Panics
/// When the certificate cannot be made.
pub fn self_signed(host: &str) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![host.to_owned()]).unwrap().self_signed(&key).unwrap();
    server(certificate, &key)
}

fn server(certificate: rcgen::Certificate, key: &KeyPair) -> ServerConfig {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], key)
        .unwrap()
}
