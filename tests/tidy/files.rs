//! The files of the project, and how their lines are read.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders with Rust code.
const ROOMS: [&str; 6] = ["shared", "gateway", "worker", "callvine", "tests", "bench"];
/// What may lie in a checkout and is nothing of ours, beside every hidden folder but [`OURS_THOUGH_HIDDEN`].
const NOT_OURS: [&str; 3] = ["target", "callvine-data", ".git"];
/// Hidden folders of ours.
const OURS_THOUGH_HIDDEN: [&str; 1] = [".ci"];

/// A file of the project, with its path from the root.
pub(crate) struct Text {
    pub(crate) path: String,
    pub(crate) text: String,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file that is text.
pub(crate) fn texts() -> Vec<Text> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            if NOT_OURS.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                if !name.starts_with('.') || OURS_THOUGH_HIDDEN.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push(Text { path: name, text });
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// Every Rust file.
pub(crate) fn sources() -> Vec<Text> {
    let in_room = |path: &str| ROOMS.iter().any(|room| path.starts_with(&format!("{room}/")));
    let found: Vec<Text> =
        texts().into_iter().filter(|file| file.path.ends_with(".rs") && in_room(&file.path)).collect();
    assert!(found.len() > 20, "only {} source files found", found.len());
    found
}

/// The Rust files of the program itself: not the tests, not the benchmark, not build scripts.
pub(crate) fn program_sources() -> Vec<Text> {
    let is_program =
        |path: &str| path.contains("/src/") && !path.starts_with("tests/") && !path.starts_with("bench/");
    sources().into_iter().filter(|file| is_program(&file.path)).collect()
}

/// The lines that are code, with their numbers.
pub(crate) fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether a line has this name and not only a longer one that ends or goes on like it.
pub(crate) fn names(line: &str, name: &str) -> bool {
    let is_of_name = |character: char| character.is_alphanumeric() || character == '_';
    let ends_open = name.ends_with(is_of_name);
    line.match_indices(name).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + name.len()..).and_then(|text| text.chars().next());
        let is_longer = before.is_some_and(is_of_name) || ends_open && after.is_some_and(is_of_name);
        !is_longer
    })
}

#[track_caller]
pub(crate) fn none(offences: &[String]) {
    assert!(offences.is_empty(), "{} offences:\n{}", offences.len(), offences.join("\n"));
}
