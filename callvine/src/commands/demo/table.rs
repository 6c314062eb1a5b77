//! The table at the end of the demo, with a row for each call.

use std::path::Path;

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use serde_json::Value;

use super::Posted;
use crate::terminal::{self, OutputError};

/// Prints a row for each call, and the reasons of the failures.
pub(super) fn print(posted: &[Posted], calls: &[Value], directory: &Path) -> Result<(), OutputError> {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(["call", "answer", "recording", "size", "codec", "duration", "analysis"]);
    for (posted, call) in posted.iter().zip(calls) {
        table.add_row([
            posted.id.to_string(),
            posted.answer.clone(),
            text(call, "/recording/status"),
            number(call, "/recording/size").map_or_else(dash, |size| format!("{:.0} kB", size / 1000.0)),
            text(call, "/recording/codec"),
            number(call, "/recording/duration_seconds")
                .map_or_else(dash, |seconds| format!("{seconds:.2} s")),
            text(call, "/analysis/status"),
        ]);
    }
    terminal::line(table)?;
    for call in calls {
        if call.pointer("/recording/status").and_then(Value::as_str) == Some("failed") {
            let attempts = number(call, "/recording/attempts").unwrap_or_default();
            terminal::line(format_args!(
                "call {}: {} ({}) after {attempts} {}",
                call.pointer("/id").unwrap_or(&Value::Null),
                text(call, "/recording/reason"),
                text(call, "/recording/last_error"),
                if attempts > 1.0 { "tries" } else { "try" },
            ))?;
        }
    }
    terminal::line(format_args!("Everything was in {}, which is removed at the end.", directory.display()))
}

fn text(call: &Value, pointer: &str) -> String {
    call.pointer(pointer).and_then(Value::as_str).map_or_else(dash, str::to_owned)
}

fn number(call: &Value, pointer: &str) -> Option<f64> {
    call.pointer(pointer).and_then(Value::as_f64)
}

fn dash() -> String {
    "-".to_owned()
}
