//! The names in the published documents against the code, both ways: routing keys, queues, reasons, states.

use std::collections::BTreeSet;

use callvine_shared::queue::Queue;
use callvine_shared::{analysis, recording};

use crate::files::{program_sources, read};

/// The stream, which is declared like a queue and consumed by none of ours.
const STREAM: &str = "callvine.stream";

/// The reading of a call says so where no analysis was requested; the database has no such state.
const NO_ANALYSIS: &str = "none";

#[test]
fn the_published_reasons_are_those_of_the_code() {
    let reasons = named(recording::Reason::ALL.map(recording::Reason::name));
    let http = read("docs/openapi.yaml");
    assert_eq!(values(&http, &["components", "schemas", "Reason", "enum"]), reasons);
    let events = read("docs/asyncapi.yaml");
    let reason = ["components", "schemas", "FailedRecording", "properties", "reason", "enum"];
    assert_eq!(values(&events, &reason), reasons);
}

#[test]
fn the_published_states_are_those_of_the_code() {
    let http = read("docs/openapi.yaml");
    let states = |schema| values(&http, &["components", "schemas", schema, "properties", "status"]);
    assert_eq!(states("Recording"), named(recording::Status::ALL.map(recording::Status::name)));
    let mut analysis = named(analysis::Status::ALL.map(analysis::Status::name));
    analysis.insert(NO_ANALYSIS.to_owned());
    assert_eq!(states("Analysis"), analysis);
}

#[test]
fn the_published_routing_keys_and_queues_are_those_of_the_code() {
    let keys = routing_keys();
    let mut addresses = named(Queue::ALL.map(Queue::name));
    addresses.insert(STREAM.to_owned());
    addresses.extend(keys.iter().cloned());
    let document = read("docs/asyncapi.yaml");
    let everywhere = |prefix: &str, suffix: &str| -> BTreeSet<String> {
        let found = |line: &str| Some(line.strip_prefix(prefix)?.strip_suffix(suffix)?.to_owned());
        document.lines().filter_map(found).collect()
    };
    assert_eq!(everywhere("    address: ", ""), addresses, "the channels");
    assert_eq!(everywhere("      name: ", ""), keys, "the messages");
    assert_eq!(everywhere("              type: { const: ai.callvine.", " }"), keys, "the types of events");
}

/// The routing keys, which are constants beside the events: two words in lower case, with a full stop between them.
fn routing_keys() -> BTreeSet<String> {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_key = |text: &&str| text.split_once('.').is_some_and(|(one, two)| is_word(one) && is_word(two));
    let mut keys = BTreeSet::new();
    for file in program_sources().iter().filter(|file| file.path.starts_with("shared/domain/src/event")) {
        let constants = file.text.lines().filter_map(|line| line.strip_prefix("pub const "));
        let texts = constants.filter_map(|line| line.split_once(": &str = \"")?.1.strip_suffix("\";"));
        keys.extend(texts.filter(is_key).map(str::to_owned));
    }
    keys
}

fn named<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// The values at a key of a YAML document that is indented by two blanks a level: a list of lines that begin with
/// `- `, or one in brackets behind the key.
fn values(document: &str, keys: &[&str]) -> BTreeSet<String> {
    let mut lines = document.lines().peekable();
    let mut rest = "";
    for (depth, key) in keys.iter().enumerate() {
        let begins = format!("{}{key}:", "  ".repeat(depth));
        let above = format!("{}  ", "  ".repeat(depth.saturating_sub(1)));
        let mut inside = lines.by_ref().skip_while(|line| !line.starts_with(&begins));
        let line = inside.next().unwrap_or_else(|| panic!("there is no {}", keys.join(".")));
        assert!(depth == 0 || line.starts_with(&above), "{key} is not below {}", keys.join("."));
        rest = line.strip_prefix(&begins).unwrap();
    }
    let listed = rest.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    if let Some((listed, _)) = listed {
        return listed.split(',').map(|value| value.trim().to_owned()).collect();
    }
    let values = lines.map_while(|line| line.trim().strip_prefix("- ").map(str::to_owned));
    let values: BTreeSet<String> = values.collect();
    assert!(!values.is_empty(), "{} has no list of values", keys.join("."));
    values
}

#[test]
fn values_are_found_below_their_keys() {
    let document = "a:\n  b:\n    enum:\n      - one\n      - two\n  c:\n    d: { enum: [three, four] }\n";
    assert_eq!(values(document, &["a", "b", "enum"]), named(["one", "two"]));
    assert_eq!(values(document, &["a", "c", "d"]), named(["three", "four"]));
}
