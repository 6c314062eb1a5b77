//! The format of results: its bounds, its JSON Schema, and the example that readers were promised.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::analysis::summary;

const EXAMPLE: &str = include_str!("example.json");

/// The schema as it is published.
const SCHEMA: &str = include_str!("../../../../../docs/schemas/results-1.json");

fn example() -> Results {
    let mut example: Value = serde_json::from_str(EXAMPLE).unwrap();
    example["summary"] = Value::from("");
    example["audio"]["decoded_seconds"] = example["audio"]["duration_seconds"].clone();
    serde_json::from_value(example).unwrap()
}

/// The paths of all fields, with list places left out.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = format!("{path}/{name}");
                fields(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| fields(value, path, found)),
        _ => {}
    }
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let schema = schemars::schema_for!(Results);
    let made = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    assert!(made == SCHEMA, "docs/schemas/results-1.json must be that of the types:\n{made}");
}

#[test]
fn results_have_every_field_of_the_example() {
    let (mut promised, mut given) = (BTreeSet::new(), BTreeSet::new());
    fields(&serde_json::from_str(EXAMPLE).unwrap(), "", &mut promised);
    let written = serde_json::to_value(example()).unwrap();
    fields(&written, "", &mut given);
    assert!(promised.len() > 35, "{promised:?}");
    let missing: Vec<_> = promised.difference(&given).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let further: Vec<_> = given.difference(&promised).map(String::as_str).collect();
    assert_eq!(further, ["/audio/decoded_seconds", "/channels/backchannels", "/summary"]);
}

#[test]
fn results_are_cut_to_their_bounds() {
    let small = example().bounded();
    assert!(small.flags.is_empty());
    let mut large = example();
    for channel in &mut large.channels {
        channel.speech = (0..20_000).map(|at| (f64::from(at) + 0.12, f64::from(at) + 0.57)).collect();
    }
    large.events = (0..20_000)
        .map(|at| Event {
            kind: EventKind::Interruption,
            channel: Some(1),
            start_seconds: f64::from(at) + 0.11,
            end_seconds: f64::from(at) + 0.53,
            digits: None,
            keys: None,
            frequency_hz: None,
            by: Some(Role::Caller),
        })
        .collect();
    let cut = large.bounded();
    assert_eq!(cut.flags, [Flag::Partial]);
    assert!(serde_json::to_vec(&cut).unwrap().len() <= BYTES_MAX);
    assert!(cut.channels.iter().all(|channel| (1..=SPEECH_MAX).contains(&channel.speech.len())));
    assert!((1..=EVENTS_MAX).contains(&cut.events.len()));
}

#[test]
fn a_supervisor_reads_the_gravest_finding_in_one_sentence() {
    let mut results = example();
    assert_eq!(summary(&results), "The agent has 60 % of the talk and the caller 40 %.");
    results.flags = vec![Flag::OneWayAudio, Flag::Noisy];
    assert_eq!(summary(&results), "The caller can't be heard.");
    results.flags = vec![Flag::Fax];
    assert_eq!(summary(&results), "A fax machine was on the line.");
    results.flags = vec![Flag::LongDeadAir];
    assert_eq!(summary(&results), Flag::LongDeadAir.sentence());
    results.events.push(Event {
        kind: EventKind::DeadAir,
        channel: None,
        start_seconds: 65.2,
        end_seconds: 77.9,
        digits: None,
        keys: None,
        frequency_hz: None,
        by: None,
    });
    assert_eq!(summary(&results), "Nothing is heard for 13 s, from 1:05 on.");
}
