//! The published documents against the code.

use crate::files::{none, read, root, texts};

#[test]
fn every_event_is_in_the_published_description() {
    let description = read("docs/asyncapi.yaml");
    let source = read("shared/domain/src/event.rs");
    let keys: Vec<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": &str = \"")?.1.strip_suffix("\";"))
        .filter(|text| {
            text.starts_with("call.") || text.starts_with("recording.") || text.starts_with("analysis.")
        })
        .collect();
    assert!(keys.len() >= 5, "only {keys:?} found in shared/domain/src/event.rs");
    for key in keys {
        assert!(description.contains(&format!("address: {key}\n")), "docs/asyncapi.yaml lacks {key}");
    }
}

#[test]
fn documents_name_only_files_that_exist() {
    let mut offences = Vec::new();
    for file in texts().into_iter().filter(|file| file.path.ends_with(".md")) {
        let folder = root().join(&file.path);
        let folder = folder.parent().unwrap();
        let words = file.text.split(['`', '(', ')', ' ', '\n', ',', ';']);
        for name in words.map(|word| word.trim_end_matches(['.', ':'])).filter(|word| is_path(word)) {
            if !root().join(name).exists() && !folder.join(name).exists() {
                offences.push(format!("{} names {name}", file.path));
            }
        }
    }
    none(&offences);
}

/// Whether a word of a document is the path of a file of ours.
fn is_path(word: &str) -> bool {
    let tops =
        ["shared/", "gateway/", "worker/", "callvine/", "tests/", "migrations/", "docs/", "demo/", "bench/"];
    tops.iter().any(|top| word.starts_with(top)) && !word.contains(['<', '*', '{', '…'])
}
