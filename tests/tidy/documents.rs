//! The documents against the tree of files.

use crate::files::{none, root, texts};

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
