//! The database's address, read and checked once.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::StoreError;

/// The address of a database: `postgres://…`, or `sqlite://PATH`. Its password is never shown.
#[derive(Clone)]
pub struct DatabaseUrl(pub(super) Address);

#[derive(Clone)]
pub(super) enum Address {
    Postgres(Box<PgConnectOptions>),
    Sqlite(Box<SqliteConnectOptions>),
}

impl DatabaseUrl {
    /// An embedded database in this file.
    #[must_use]
    pub fn of_file(path: &Path) -> Self {
        Self(Address::Sqlite(Box::new(SqliteConnectOptions::new().filename(path))))
    }

    /// The file of an embedded database; `None`: it is a server's, which several processes share.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        match &self.0 {
            Address::Postgres(_) => None,
            Address::Sqlite(options) => Some(options.get_filename().to_owned()),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let refused = |why: &str| StoreError::Url(why.to_owned());
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            // The parser's own message may quote the password.
            let options = text.parse().map_err(|_error| refused("it is not a valid postgres:// URL"))?;
            Ok(Self(Address::Postgres(Box::new(options))))
        } else if text.starts_with("sqlite:") {
            let options = text.parse().map_err(|error: sqlx::Error| StoreError::Url(error.to_string()))?;
            Ok(Self(Address::Sqlite(Box::new(options))))
        } else {
            Err(refused("it must begin with postgres:// or sqlite://"))
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Address::Postgres(options) => {
                let database = options.get_database().unwrap_or_default();
                write!(f, "DatabaseUrl(postgres {}:{}/{database})", options.get_host(), options.get_port())
            }
            Address::Sqlite(options) => write!(f, "DatabaseUrl(sqlite {})", options.get_filename().display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_an_embedded_database_is_found_in_its_url() {
        for (url, file) in [
            ("sqlite:///var/lib/callvine.db", "/var/lib/callvine.db"),
            ("sqlite://./callvine-data/callvine.db", "./callvine-data/callvine.db"),
            ("sqlite:relative.db?mode=rw", "relative.db"),
        ] {
            assert_eq!(url.parse::<DatabaseUrl>().unwrap().file().as_deref(), Some(Path::new(file)), "{url}");
        }
        assert_eq!("postgres://host/db".parse::<DatabaseUrl>().unwrap().file(), None);
        let odd = Path::new("/data/50%?/callvine.db");
        assert_eq!(DatabaseUrl::of_file(odd).file().as_deref(), Some(odd));
    }

    #[test]
    fn other_addresses_are_refused_and_a_password_never_shows() {
        for text in ["", "mysql://u:secret@host/x", "postgres://u:secret@host:port/x", "callvine.db"] {
            let error = text.parse::<DatabaseUrl>().unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(said.contains("DATABASE_URL") && !said.contains("secret"), "{text}: {said}");
        }
        let url: DatabaseUrl = "postgres://u:secret@host/calls".parse().unwrap();
        assert_eq!(format!("{url:?}"), "DatabaseUrl(postgres host:5432/calls)");
    }
}
