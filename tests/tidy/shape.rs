//! The shape of files: short, introduced, finished.

use std::fs;

use crate::files::{none, paths, root, sources, texts};

/// Longest source file, in lines.
const MAX_LINES: usize = 350;
/// Largest file of any kind, in bytes: a clone should stay quick.
const MAX_BYTES: u64 = 200 * 1024;
/// The files that may be larger, by the beginning of their paths: the demo's recordings are sounds that people listen
/// to, and the analysis needs the weights of its network.
const LARGE: [&str; 2] = ["demo/recordings/", "shared/audio/src/signal/voice/silero-8k.f16"];

#[test]
fn source_files_are_short_and_begin_with_what_they_are_for() {
    let mut offences = Vec::new();
    for file in sources() {
        let lines = file.text.lines().count();
        if lines > MAX_LINES {
            offences.push(format!("{} has {lines} lines, {MAX_LINES} are allowed", file.path));
        }
        if !file.text.starts_with("//! ") {
            offences.push(format!("{} does not begin with a line `//! …`", file.path));
        }
    }
    none(&offences);
}

#[test]
fn no_file_is_large_but_for_those_that_must_be() {
    let mut offences = Vec::new();
    for path in paths().into_iter().filter(|path| !LARGE.iter().any(|large| path.starts_with(large))) {
        let bytes = fs::metadata(root().join(&path)).unwrap().len();
        if bytes > MAX_BYTES {
            offences.push(format!("{path} has {bytes} bytes, {MAX_BYTES} are allowed"));
        }
    }
    none(&offences);
}

#[test]
fn nothing_is_left_undone_or_skipped() {
    // In pieces, so that this file does not accuse itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("#[ign", "ore")];
    let mut offences = Vec::new();
    for file in sources() {
        for (number, line) in file.text.lines().enumerate() {
            for mark in marks.iter().filter(|mark| line.contains(*mark)) {
                offences.push(format!("{}:{} has {mark}", file.path, number + 1));
            }
        }
    }
    none(&offences);
}

#[test]
fn no_file_names_a_path_of_somebodys_machine() {
    let paths = [concat!("/wo", "rk/"), concat!("/fa", "rm/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut offences = Vec::new();
    for file in texts() {
        for (number, line) in file.text.lines().enumerate() {
            // Not a path of its own where it only goes on (`tests/…/home/`).
            let is_named = |path: &&&str| {
                line.match_indices(**path).any(|(at, _)| {
                    line.get(..at)
                        .unwrap()
                        .chars()
                        .next_back()
                        .is_none_or(|before| " \t\"'`(=:".contains(before))
                })
            };
            for path in paths.iter().filter(is_named) {
                offences.push(format!("{}:{} has {path}", file.path, number + 1));
            }
        }
    }
    none(&offences);
}
