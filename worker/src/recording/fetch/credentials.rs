//! The file of `CALLVINE_FETCH_CREDENTIALS`: user names, passwords and tokens by host.
//!
//! ```toml
//! ["pbx.example.com"]
//! user = "callvine"
//! password = "…"
//!
//! ["files.example.com:8443"]
//! bearer = "…"
//! client = "acme"
//!
//! ["pbx.internal"]
//! user = "callvine"
//! password = "…"
//! insecure = true
//! ```
//!
//! A name without a port stands for every port of that host. An entry is for HTTPS alone unless it says `insecure`, and
//! for the calls of one client alone where it names one. No error of this module quotes the file: its text is
//! secret.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use toml::{Table, Value};
use url::Url;

/// Largest credentials file: thousands of hosts fit; a larger file is the wrong one.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The bits of a file's mode that let the group and others read or write it.
const OTHERS_ACCESS: u32 = 0o066;

/// Credentials by host. Empty by default.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Keys are hosts as the URL standard writes them, with or without a port.
    by_host: HashMap<String, Entry>,
}

/// One host's table of the file.
#[derive(Clone, Debug)]
struct Entry {
    credential: Credential,
    /// Sent for this client's calls alone.
    client: Option<String>,
    /// Sent without TLS too.
    insecure: bool,
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
    /// The group or others can read or write it.
    #[error("other users can read or write {path} (run `chmod 600 {path}`)", path = .0.display())]
    Open(PathBuf),
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
    /// A host's table holds something else than `user` and `password`, or `bearer`, and perhaps `client`, all strings, and
    /// `insecure`, true or false.
    #[error(
        "`{0}` needs user and password, or bearer; beside them it may have client and insecure, and nothing else"
    )]
    Entry(String),
}

impl Credentials {
    /// Reads a credentials file. Blocks; meant for the start of the program.
    ///
    /// # Errors
    /// [`CredentialsError`], which never quotes a secret.
    pub fn load(path: &Path) -> Result<Self, CredentialsError> {
        let unreadable = |source| CredentialsError::Unreadable { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(unreadable)?;
        let found = file.metadata().map_err(unreadable)?;
        if found.permissions().mode() & OTHERS_ACCESS != 0 {
            return Err(CredentialsError::Open(path.to_owned()));
        }
        if found.len() > FILE_BYTES_MAX {
            return Err(CredentialsError::TooLarge(path.to_owned()));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(unreadable)?;
        Self::parse(&text)
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
            let Some(entry) = Entry::of(&entry) else {
                return Err(CredentialsError::Entry(name));
            };
            if by_host.insert(host, entry).is_some() {
                return Err(CredentialsError::Host(name));
            }
        }
        Ok(Self { by_host })
    }

    /// The credentials for this URL's host and this client's calls, if any; an entry with its port goes before one without.
    pub(super) fn of(&self, url: &Url, client: &str) -> Option<&Credential> {
        if self.by_host.is_empty() {
            return None;
        }
        let host = url.host_str()?;
        let port = url.port_or_known_default()?;
        let entries = [self.by_host.get(&format!("{host}:{port}")), self.by_host.get(host)];
        let mut of_client = entries.into_iter().flatten().filter(|entry| entry.is_for(client));
        let found = of_client.find(|entry| entry.insecure || url.scheme() == "https");
        if found.is_none() && entries.into_iter().flatten().any(|entry| entry.is_for(client)) {
            tracing::warn!(
                "the credentials of {host} are for https alone (add insecure = true to its entry)"
            );
        }
        found.map(|entry| &entry.credential)
    }
}

impl Entry {
    fn of(entry: &Value) -> Option<Self> {
        let mut table = entry.as_table()?.clone();
        let client = match table.remove("client") {
            None => None,
            Some(Value::String(client)) if !client.is_empty() => Some(client),
            Some(_) => return None,
        };
        let insecure = table.remove("insecure").map_or(Some(false), |insecure| insecure.as_bool())?;
        Some(Self { credential: Credential::of(&table)?, client, insecure })
    }

    fn is_for(&self, client: &str) -> bool {
        self.client.as_deref().is_none_or(|own| own == client)
    }
}

impl Credential {
    fn of(table: &Table) -> Option<Self> {
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

/// A header that no log shows; `None` for a text that can't be one.
pub(super) fn secret(text: String) -> Option<HeaderValue> {
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
mod tests;
