//! The settings of TLS.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::tls::{Files, Tls, TlsError};

/// Whether the listeners speak TLS.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "TLS")]
#[group(id = "tls-settings")]
pub struct TlsSettings {
    /// PEM file with the certificate and those of the authorities above it; the listeners then speak TLS
    #[arg(long, env = "CALLVINE_TLS_CERT", value_name = "FILE", value_parser = path())]
    pub tls_cert: Option<PathBuf>,

    /// PEM file with the certificate's private key; both files are read again when they change
    #[arg(long, env = "CALLVINE_TLS_KEY", value_name = "FILE", value_parser = path())]
    pub tls_key: Option<PathBuf>,
}

/// A path that may be empty, which clap's own refuses.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

impl TlsSettings {
    /// The certificate and key that the settings name; `None`: they name none. An empty variable counts as absent.
    ///
    /// # Errors
    /// [`TlsSettingsError`] when one is named without the other, or they can't be used.
    pub fn load(&self) -> Result<Option<Tls>, TlsSettingsError> {
        let named = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        match (named(&self.tls_cert), named(&self.tls_key)) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(Tls::load(Files { certificate, key })?)),
            (Some(_), None) => Err(TlsSettingsError::Half("CALLVINE_TLS_KEY", "CALLVINE_TLS_CERT")),
            (None, Some(_)) => Err(TlsSettingsError::Half("CALLVINE_TLS_CERT", "CALLVINE_TLS_KEY")),
        }
    }
}

/// Settings of TLS that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsSettingsError {
    /// One of the two is missing.
    #[error("{0} must be set as well, since {1} is")]
    Half(&'static str, &'static str),
    /// The files can't be used.
    #[error(transparent)]
    Files(#[from] TlsError),
}
