//! The file of `CALLVINE_FETCH_CREDENTIALS`: user names, passwords and tokens by host.
//!
//! ```toml
//! ["pbx.example.com"]
//! user = "callvine"
//! password = "…"
//!
//! ["files.example.com:8443"]
//! bearer = "…"
//! ```
//!
//! A name without a port stands for every port of that host. No error of this module quotes the file: its text is
//! secret.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use toml::{Table, Value};
use url::Url;

/// Largest credentials file: thousands of hosts fit; a larger file is the wrong one.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Credentials by host. Empty by default.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Keys are hosts as the URL standard writes them, with or without a port.
    by_host: HashMap<String, Credential>,
}

/// The credentials for one host.
#[derive(Clone, Debug)]
pub(super) enum Credential {
    Basic { user: String, password: SecretString },
    Bearer(SecretString),
}

/// A credentials file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It can't be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is larger than any list of hosts.
    #[error("{} is larger than {FILE_BYTES_MAX} bytes", .0.display())]
    TooLarge(PathBuf),
    /// It is not TOML.
    #[error("line {line} is not TOML")]
    Syntax {
        /// Counted from 1.
        line: usize,
    },
    /// A table's name is not a host, or a host is named twice.
    #[error("`{0}` is not a host, optionally with a port, named once")]
    Host(String),
    /// A host's table holds something else than `user` and `password`, or `bearer`, all strings.
    #[error("`{0}` needs user and password, or bearer, and nothing else")]
    Entry(String),
}

impl Credentials {
    /// Reads a credentials file. Blocks; meant for the start of the program.
    ///
    /// # Errors
    /// [`CredentialsError`], which never quotes a secret.
    pub fn load(path: &Path) -> Result<Self, CredentialsError> {
        let unreadable = |source| CredentialsError::Unreadable { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
            return Err(CredentialsError::TooLarge(path.to_owned()));
        }
        Self::parse(&std::fs::read_to_string(path).map_err(unreadable)?)
    }

    /// Reads the text of a credentials file.
    ///
    /// # Errors
    /// [`CredentialsError`], which never quotes a secret.
    pub fn parse(text: &str) -> Result<Self, CredentialsError> {
        let table: Table = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            CredentialsError::Syntax { line: before.matches('\n').count() + 1 }
        })?;
        let mut by_host = HashMap::with_capacity(table.len());
        for (name, entry) in table {
            let Some(host) = normalised(&name) else {
                return Err(CredentialsError::Host(name));
            };
            let Some(credential) = Credential::of(&entry) else {
                return Err(CredentialsError::Entry(name));
            };
            if by_host.insert(host, credential).is_some() {
                return Err(CredentialsError::Host(name));
            }
        }
        Ok(Self { by_host })
    }

    /// The credentials for this URL's host, if any; an entry with its port goes before one without.
    pub(super) fn of(&self, url: &Url) -> Option<&Credential> {
        if self.by_host.is_empty() {
            return None;
        }
        let host = url.host_str()?;
        let port = url.port_or_known_default()?;
        self.by_host.get(&format!("{host}:{port}")).or_else(|| self.by_host.get(host))
    }
}

impl Credential {
    fn of(entry: &Value) -> Option<Self> {
        let table = entry.as_table()?;
        let text = |name| table.get(name).and_then(Value::as_str).map(str::to_owned);
        match (table.len(), text("user"), text("password"), text("bearer")) {
            (2, Some(user), Some(password), None) => Some(Self::Basic { user, password: password.into() }),
            (1, None, None, Some(token)) => Some(Self::Bearer(token.into())),
            _ => None,
        }
    }

    /// The header that signs a request in; `None` where it can't be one.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        match self {
            Self::Basic { user, password } => basic(user.as_bytes(), password.expose_secret().as_bytes()),
            Self::Bearer(token) => secret(format!("Bearer {}", token.expose_secret())),
        }
    }
}

/// A user name and password as a header (RFC 7617); `None` where they can't be one.
pub(super) fn basic(user: &[u8], password: &[u8]) -> Option<HeaderValue> {
    secret(format!("Basic {}", BASE64_STANDARD.encode([user, b":", password].concat())))
}

fn secret(text: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `host` or `host:port` as the URL standard writes it: lower case, IPv6 in brackets, names in ASCII.
fn normalised(name: &str) -> Option<String> {
    let url = Url::parse(&format!("http://{name}/")).ok()?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    if !bare || !anonymous || name.contains(['/', '\\', '?', '#', '@']) {
        return None;
    }
    let host = url.host_str()?;
    // The parser drops port 80, the default of its scheme.
    let port = name.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    match port {
        Some(port) => Some(format!("{host}:{}", port.parse::<u16>().ok()?)),
        None => Some(host.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(credentials: &Credentials, url: &str) -> Option<String> {
        credentials.of(&Url::parse(url).unwrap()).map(|credential| match credential {
            Credential::Basic { user, password } => format!("{user}:{}", password.expose_secret()),
            Credential::Bearer(token) => token.expose_secret().to_owned(),
        })
    }

    #[test]
    fn each_host_is_told_its_own() {
        let text = r#"
            ["PBX.example.com"]
            user = "callvine"
            password = "secret"
            ["files.example.com:8443"]
            bearer = "token"
            ["files.example.com"]
            bearer = "other"
            ["web.example.com:80"]
            bearer = "plain"
            ["[2001:DB8::1]"]
            bearer = "six"
        "#;
        let credentials = Credentials::parse(text).unwrap();
        for (url, expected) in [
            ("http://pbx.example.com/x", Some("callvine:secret")),
            ("https://pbx.example.com:9/x", Some("callvine:secret")),
            ("https://files.example.com:8443/x", Some("token")),
            ("https://files.example.com/x", Some("other")),
            ("http://web.example.com/x", Some("plain")),
            ("https://web.example.com/x", None),
            ("http://[2001:db8:0::1]:5/x", Some("six")),
            ("http://example.com/", None),
            ("http://evil.pbx.example.com/", None),
            ("http://pbx.example.com.evil.example/", None),
        ] {
            assert_eq!(told(&credentials, url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn wrong_files_are_refused_without_quoting_them() {
        for text in [
            "[\"a.example\"]\nuser = \"hunter2\"",
            "[\"a.example\"]\npassword = \"hunter2\"",
            "[\"a.example\"]\nuser = 1\npassword = \"hunter2\"",
            "[\"a.example\"]\nbearer = 12345678",
            "[\"a.example\"]\nbearer = \"hunter2\"\nuser = \"u\"",
            "[\"a.example\"]\nbearer = \"hunter2\"\nextra = 1",
            "bearer = \"hunter2\"",
            "[\"http://a.example/\"]\nbearer = \"hunter2\"",
            "[\"a.example/x\"]\nbearer = \"hunter2\"",
            "[\"u@a.example\"]\nbearer = \"hunter2\"",
            "[\"a.example:99999\"]\nbearer = \"hunter2\"",
            "[\"\"]\nbearer = \"hunter2\"",
            "[\"a.example\"]\nbearer = \"hunter2\"\n[\"A.EXAMPLE\"]\nbearer = \"hunter2\"",
        ] {
            let error = Credentials::parse(text).expect_err(text).to_string();
            assert!(!error.contains("hunter2") && !error.contains("12345678"), "{text}: {error}");
        }
        let error = Credentials::parse("[\"a.example\"]\n\nbearer = hunter2\n").unwrap_err();
        assert_eq!(error.to_string(), "line 3 is not TOML");
    }

    #[test]
    fn debug_output_hides_secrets() {
        let credentials = Credentials::parse("[\"a.example\"]\nbearer = \"hunter2\"").unwrap();
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
