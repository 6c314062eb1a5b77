//! The failures of the database, told apart by the caller's remedy.

/// A failed database operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Out of reach, too slow, full, or shutting down: the same call may succeed later.
    #[error("the database is unavailable (check DATABASE_URL and the server's log)")]
    Unavailable(#[source] sqlx::Error),
    /// The database refuses this data; it would refuse it again.
    #[error("the database refuses the data")]
    Rejected(#[source] sqlx::Error),
    /// The statement doesn't fit the schema: a migration is missing, or this is a bug.
    #[error("the statement doesn't fit the database (is it migrated?)")]
    Mismatch(#[source] sqlx::Error),
    /// The schema can't be brought up to date.
    #[error("the database can't be migrated")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// The address can't be used.
    #[error("DATABASE_URL can't be used: {0}")]
    Url(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => match database.code().as_deref() {
                Some(code) if is_refusal(code) => Self::Rejected(error),
                Some(code) if is_mismatch(code) => Self::Mismatch(error),
                _ => Self::Unavailable(error),
            },
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::Encode(_)
            | sqlx::Error::RowNotFound
            | sqlx::Error::TypeNotFound { .. } => Self::Mismatch(error),
            _ => Self::Unavailable(error),
        }
    }
}

/// PostgreSQL's classes 22 (data exception) and 23 (integrity constraint violation); SQLite's constraint (19 in the
/// low byte), mismatch (20) and too big (18).
fn is_refusal(code: &str) -> bool {
    match code.len() {
        5 => code.starts_with("22") || code.starts_with("23"),
        _ => matches!(sqlite_primary(code), Some(18..=20)),
    }
}

/// PostgreSQL's class 42 (syntax error or access rule violation); SQLite's generic error (1), such as a missing table.
fn is_mismatch(code: &str) -> bool {
    match code.len() {
        5 => code.starts_with("42"),
        _ => sqlite_primary(code) == Some(1),
    }
}

/// The primary result code in the low byte of SQLite's extended one; the extended ones have up to four digits.
fn sqlite_primary(code: &str) -> Option<u32> {
    code.parse::<u32>().ok().map(|extended| extended & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_databases_are_told_apart() {
        assert!(is_refusal("23505") && is_refusal("22021") && !is_refusal("57P01") && !is_refusal("08006"));
        assert!(is_refusal("1555") && is_refusal("275") && is_refusal("19"));
        assert!(!is_refusal("5") && !is_refusal("13") && !is_refusal("778"));
        assert!(is_mismatch("42P01") && is_mismatch("1") && !is_mismatch("5"));
    }
}
