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
    table.set_header([
        "call",
        "answer",
        "recording",
        "codec",
        "duration",
        "agent : caller",
        "silence",
        "flags",
    ]);
    for (posted, call) in posted.iter().zip(calls) {
        table.add_row([
            posted.id.to_string(),
            posted.answer.clone(),
            text(call, "/recording/status"),
            text(call, "/recording/codec"),
            number(call, "/recording/duration_seconds")
                .map_or_else(dash, |seconds| format!("{seconds:.2} s")),
            shares(call).unwrap_or_else(dash),
            number(call, "/analysis/results/conversation/longest_silence_seconds")
                .map_or_else(dash, |seconds| format!("{seconds:.1} s")),
            flags(call),
        ]);
    }
    terminal::line(table)?;
    terminal::line("Share of the talk, longest silence and flags are from the analysis. In words:")?;
    for call in calls {
        if let Some(summary) = call.pointer("/analysis/results/summary").and_then(Value::as_str) {
            terminal::line(format_args!("call {}: {summary}", call.pointer("/id").unwrap_or(&Value::Null)))?;
        }
    }
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

/// The share of the talk that each of the two has.
fn shares(call: &Value) -> Option<String> {
    let share = |channel: usize| {
        number(call, &format!("/analysis/results/channels/{channel}/talk_share")).map(|share| share * 100.0)
    };
    Some(format!("{:.0} : {:.0}", share(0)?, share(1)?))
}

fn flags(call: &Value) -> String {
    let flags = call.pointer("/analysis/results/flags").and_then(Value::as_array);
    let names: Vec<&str> = flags.into_iter().flatten().filter_map(Value::as_str).collect();
    if names.is_empty() { dash() } else { names.join(", ") }
}

fn number(call: &Value, pointer: &str) -> Option<f64> {
    call.pointer(pointer).and_then(Value::as_f64)
}

fn dash() -> String {
    "-".to_owned()
}
