//! The documents against the tree of files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::files::{none, root, texts};

#[test]
fn documents_name_only_files_that_exist() {
    let mut offences = Vec::new();
    for file in texts().into_iter().filter(|file| file.path.ends_with(".md")) {
        let folder = root().join(&file.path);
        let folder = folder.parent().unwrap();
        let words = file.text.split(['`', '(', ')', ' ', '\n', ',', ';']);
        for name in words.map(|word| word.trim_end_matches(['.', ':'])).filter(|word| is_path(word)) {
            let (path, heading) = name.split_once('#').map_or((name, None), |(path, it)| (path, Some(it)));
            let found = [root().join(path), folder.join(path)].into_iter().find(|path| path.exists());
            let Some(found) = found else {
                offences.push(format!("{} names {name}", file.path));
                continue;
            };
            if heading.is_some_and(|heading| !anchors(&found).contains(heading)) {
                offences.push(format!("{} names a heading that is not there: {name}", file.path));
            }
        }
    }
    none(&offences);
}

/// The headings of a document as links name them: in lower case, without punctuation, blanks as hyphens.
fn anchors(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap();
    let headings =
        text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let is_kept = |character: &char| character.is_alphanumeric() || " -_".contains(*character);
    headings
        .map(|text| text.to_lowercase().chars().filter(is_kept).collect::<String>().replace(' ', "-"))
        .collect()
}

/// Whether a word of a document is the path of a file of ours.
fn is_path(word: &str) -> bool {
    let tops = [
        "operator/",
        "shared/",
        "gateway/",
        "worker/",
        "callvine/",
        "tests/",
        "migrations/",
        "docs/",
        "demo/",
        "bench/",
    ];
    tops.iter().any(|top| word.starts_with(top)) && !word.contains(['<', '*', '{', '…'])
}
