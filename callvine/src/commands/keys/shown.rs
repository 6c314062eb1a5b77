//! API keys as they are printed: an object a line, or a table.

use callvine_shared::store::ApiKeyRow;
use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::Table;
use serde::Serialize;

use crate::terminal::{self, OutputError};

/// A key as an object. Times are UTC (RFC 3339).
#[derive(Serialize)]
struct Line<'a> {
    id: i64,
    client: &'a str,
    role: &'static str,
    env: &'static str,
    prefix: &'a str,
    created_at: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    revoked_at: Option<String>,
    /// Calls a second.
    rate: Option<f64>,
    /// Seconds.
    dedupe: Option<u64>,
    /// The key itself, when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn new(row: &'a ApiKeyRow, key: Option<&'a str>) -> Self {
        Self {
            id: row.id,
            client: &row.client,
            role: row.role.name(),
            env: row.environment.name(),
            prefix: &row.prefix,
            created_at: time(row.created_at),
            expires_at: row.expires_at.map(time),
            last_used_at: row.last_used_at.map(time),
            revoked_at: row.revoked_at.map(time),
            rate: row.rate_per_second,
            dedupe: row.dedupe.map(|dedupe| dedupe.as_secs()),
            key,
        }
    }
}

/// A time as it is printed.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Prints a key as an object, a new one with its plain text.
pub(super) fn object(row: &ApiKeyRow, key: Option<&str>) -> Result<(), OutputError> {
    terminal::json(&Line::new(row, key))
}

/// Prints keys as a table.
pub(super) fn table(rows: &[ApiKeyRow]) -> Result<(), OutputError> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "id",
        "client",
        "role",
        "env",
        "prefix",
        "created",
        "expires",
        "last used",
        "revoked",
        "rate",
        "dedupe",
    ]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for row in rows {
        table.add_row([
            row.id.to_string(),
            row.client.clone(),
            row.role.to_string(),
            row.environment.to_string(),
            row.prefix.clone(),
            time(row.created_at),
            or_dash(row.expires_at.map(time)),
            or_dash(row.last_used_at.map(time)),
            or_dash(row.revoked_at.map(time)),
            or_dash(row.rate_per_second.map(|rate| rate.to_string())),
            or_dash(row.dedupe.map(|dedupe| humantime::format_duration(dedupe).to_string())),
        ]);
    }
    terminal::line(table)
}
