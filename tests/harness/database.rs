//! The program's tables, as an analyst reads them: both databases, without the program's own code.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use sqlx::{
    AssertSqlSafe, ColumnIndex, Connection, Decode, FromRow, PgConnection, Row, SqliteConnection, Type,
};

use crate::process::new_directory;
use crate::volume::Volume;

/// A call and the state of its recording and analysis, as the tables have them.
#[derive(Clone, Debug)]
pub struct StoredCall {
    /// The call's id.
    pub id: i64,
    /// As it was sent.
    pub from_phone: String,
    /// As it was sent.
    pub to_phone: String,
    /// As it was sent.
    pub handled_by: String,
    /// As it was sent.
    pub department: Option<String>,
    /// `YYYY-MM-DD HH:MM:SS`.
    pub start_time: String,
    /// `YYYY-MM-DD HH:MM:SS`.
    pub end_time: String,
    /// As it was sent, but for a user name and password.
    pub recording_url: String,
    /// `pending`, `stored` or `failed`.
    pub recording: Option<String>,
    /// Digest of a stored recording, 64 hexadecimal digits.
    pub sha256: Option<String>,
    /// `requested`, `completed` or `failed`.
    pub analysis: Option<String>,
}

impl<'r, R: Row> FromRow<'r, R> for StoredCall
where
    for<'c> &'c str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            from_phone: row.try_get("from_phone")?,
            to_phone: row.try_get("to_phone")?,
            handled_by: row.try_get("handled_by")?,
            department: row.try_get("department")?,
            start_time: row.try_get("start_time")?,
            end_time: row.try_get("end_time")?,
            recording_url: row.try_get("recording_url")?,
            recording: row.try_get("recording")?,
            sha256: row.try_get("sha256")?,
            analysis: row.try_get("analysis")?,
        })
    }
}

const CALLS_POSTGRES: &str = "select c.id, from_phone, to_phone, handled_by, department,
    to_char(start_time, 'YYYY-MM-DD HH24:MI:SS') as start_time, to_char(end_time, 'YYYY-MM-DD HH24:MI:SS') as end_time,
    recording_url, r.status as recording, r.sha256, a.status as analysis
    from call_logs c left join recordings r on r.call_id = c.id left join analyses a on a.call_id = c.id";

const CALLS_SQLITE: &str = "select c.id, from_phone, to_phone, handled_by, department, start_time, end_time,
    recording_url, r.status as recording, r.sha256, a.status as analysis
    from call_logs c left join recordings r on r.call_id = c.id left join analyses a on a.call_id = c.id";

/// Copies that are made at most, since the original may change meanwhile: SQLite writes it every thousand pages.
const COPIES: u32 = 100;

/// A database of the program.
#[derive(Clone, Debug)]
pub struct Database {
    url: String,
    /// Where its files are copied from each time it is read.
    original: Option<PathBuf>,
}

impl Database {
    /// The database at this `postgres://` or `sqlite://` address.
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), original: None }
    }

    /// The embedded database of a process that ran in this directory.
    pub fn embedded(directory: &Path) -> Self {
        Self::new(&format!("sqlite://{}/callvine-data/callvine.db", directory.display()))
    }

    /// The embedded database on a volume, to be read through copies: SQLite would look for its files outside.
    pub fn on_volume(volume: &Volume) -> Self {
        let url = format!("sqlite://{}/callvine.db", new_directory("copies").display());
        Self { url, original: Some(volume.from_outside().join("callvine-data")) }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All calls, by id.
    ///
    /// # Panics
    /// When they can't be read.
    pub async fn calls(&self) -> HashMap<i64, StoredCall> {
        let calls: Vec<StoredCall> = if self.is_postgres() {
            sqlx::query_as(CALLS_POSTGRES).fetch_all(&mut self.postgres().await).await.unwrap()
        } else {
            let read = sqlx::query_as(CALLS_SQLITE);
            self.on_sqlite(async |connection| read.fetch_all(connection).await).await.unwrap()
        };
        calls.into_iter().map(|call| (call.id, call)).collect()
    }

    /// How a call's recording was proved, and its waveform.
    ///
    /// # Panics
    /// When there is no such call.
    pub async fn proof(&self, call_id: i64) -> (Option<String>, Option<Vec<u8>>) {
        let statement = "select verification, waveform from recordings where call_id = $1";
        if self.is_postgres() {
            sqlx::query_as(statement).bind(call_id).fetch_one(&mut self.postgres().await).await.unwrap()
        } else {
            let read = sqlx::query_as(statement).bind(call_id);
            self.on_sqlite(async |connection| read.fetch_one(connection).await).await.unwrap()
        }
    }

    /// The result of `select count(*)` of a statement's rest; `None` while the database can't be asked.
    pub async fn count(&self, rest: &'static str) -> Option<i64> {
        let statement = AssertSqlSafe(format!("select count(*) {rest}"));
        if self.is_postgres() {
            let mut connection = PgConnection::connect(&self.url).await.ok()?;
            sqlx::query_scalar(statement).fetch_one(&mut connection).await.ok()
        } else {
            let read = sqlx::query_scalar(statement);
            self.on_sqlite(async |connection| read.fetch_one(connection).await).await.ok()
        }
    }

    /// Executes a statement. On a volume, the program must not run meanwhile: its files are copied out and back.
    ///
    /// # Panics
    /// When it fails.
    pub async fn execute(&self, statement: &'static str) -> u64 {
        if self.is_postgres() {
            return sqlx::query(statement).execute(&mut self.postgres().await).await.unwrap().rows_affected();
        }
        let change = sqlx::query(statement);
        let done = self.on_sqlite(async |connection| change.execute(connection).await).await;
        let affected = done.unwrap().rows_affected();
        // The last connection has left everything in one file.
        if let Some(original) = &self.original {
            fs::copy(self.path(), original.join("callvine.db")).unwrap();
            for suffix in ["-shm", "-wal"] {
                fs::remove_file(original.join(format!("callvine.db{suffix}"))).ok();
            }
        }
        affected
    }

    /// Puts a message into a queue of in-process delivery.
    ///
    /// # Panics
    /// When it can't be written.
    pub async fn put_delivery(&self, queue: &str, body: &str) {
        let statement =
            "insert into deliveries (queue, event_id, body, available_at) values ($1, 'x', $2, 1)";
        let done = if self.is_postgres() {
            let mut connection = self.postgres().await;
            sqlx::query(statement).bind(queue).bind(body).execute(&mut connection).await.map(drop)
        } else {
            let insert = sqlx::query(statement).bind(queue).bind(body);
            self.on_sqlite(async |connection| insert.execute(connection).await.map(drop)).await
        };
        done.unwrap();
    }

    fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres")
    }

    async fn postgres(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    /// Closes the connection before it returns: one that is left to itself removes its log in its own time, and that of
    /// the next copy with it.
    async fn on_sqlite<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        self.copy();
        let mut connection = SqliteConnection::connect(&self.url).await?;
        let done = work(&mut connection).await;
        connection.close().await?;
        done
    }

    /// A copy during which the file itself has changed is of no use: what was moved into it from the log meanwhile may
    /// be in neither copy.
    fn copy(&self) {
        let Some(original) = &self.original else { return };
        let (file, copy) = (original.join("callvine.db"), self.path());
        for _ in 0..COPIES {
            for suffix in ["-shm", "-wal", ""] {
                fs::remove_file(format!("{}{suffix}", copy.display())).ok();
            }
            fs::copy(&file, &copy).unwrap();
            // There is no log beside a database that nobody uses.
            fs::copy(original.join("callvine.db-wal"), copy.with_file_name("callvine.db-wal")).ok();
            if fs::read(&file).unwrap() == fs::read(&copy).unwrap() {
                return;
            }
        }
        panic!("the database changes too fast to be copied");
    }

    /// SQLite's file, or its copy.
    fn path(&self) -> PathBuf {
        PathBuf::from(self.url.trim_start_matches("sqlite://"))
    }
}
