//! The files of the project, and how their lines are read.

use std::fs;
use std::path::Path;

/// Folders that may lie in a checkout, at any depth, and hold nothing of ours.
const NOT_OURS: [&str; 5] = ["target", "callvine-data", "corpus", "artifacts", "node_modules"];
/// The hidden folders that are ours. Every other one is left alone.
const HIDDEN_AND_OURS: [&str; 3] = [".cargo", ".ci", ".github"];

/// A file of the project that is text, with its path from the root.
pub(crate) struct Text {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The folder of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The paths of all files, from the root, in order.
pub(crate) fn paths() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                let is_ours = if name.starts_with('.') {
                    HIDDEN_AND_OURS.contains(&name)
                } else {
                    !NOT_OURS.contains(&name)
                };
                if is_ours {
                    folders.push(path);
                }
            } else if name != ".git" {
                // `.git` is a file where a repository has several checkouts.
                found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Every file that is text.
pub(crate) fn texts() -> Vec<Text> {
    let read = |path: String| Some(Text { text: fs::read_to_string(root().join(&path)).ok()?, path });
    paths().into_iter().filter_map(read).collect()
}

/// Every Rust file.
pub(crate) fn sources() -> Vec<Text> {
    let found: Vec<Text> = texts().into_iter().filter(|file| file.path.ends_with(".rs")).collect();
    assert!(found.len() > 200, "only {} source files found", found.len());
    found
}

/// The Rust files of the program itself, without its tests, its benchmark and its fuzzing.
pub(crate) fn program_sources() -> Vec<Text> {
    let outside = ["tests/", "bench/", "fuzz/"];
    let is_program =
        |path: &str| path.contains("/src/") && !outside.iter().any(|folder| path.starts_with(folder));
    sources().into_iter().filter(|file| is_program(&file.path)).collect()
}

/// The lines that are code, with their numbers.
pub(crate) fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether a line has this name, rather than a longer one that contains it.
pub(crate) fn names(line: &str, name: &str) -> bool {
    let ends_open = name.ends_with(is_of_name);
    line.match_indices(name).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + name.len()..).and_then(|text| text.chars().next());
        let is_longer = before.is_some_and(is_of_name) || ends_open && after.is_some_and(is_of_name);
        !is_longer
    })
}

/// Whether a character may stand in a name of Rust.
pub(crate) fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[track_caller]
pub(crate) fn none(offences: &[String]) {
    assert!(offences.is_empty(), "{} offences:\n{}", offences.len(), offences.join("\n"));
}
