//! The paths that Rust code names (`crate::bus::Bus`, `use super::{a, b}`), resolved from the root of their crate.

use crate::files::{code_lines, is_of_name};

/// A path as a source file names it: its segments, from the name of a crate on.
pub(crate) type ModulePath = Vec<String>;

/// The module that a file holds: `shared/src/store/mod.rs` is `callvine_shared::store`.
pub(crate) fn module_of(crate_name: &str, path_in_src: &str) -> ModulePath {
    let name = path_in_src.strip_suffix(".rs").unwrap();
    let segments = name.split('/').filter(|segment| !["lib", "main", "mod"].contains(segment));
    std::iter::once(crate_name).chain(segments).map(str::to_owned).collect()
}

/// Every path that begins with `crate`, `self`, `super` or a crate of ours, with the number of its line.
///
/// `super` in a module inside the file leads one step too far up, to a module that contains the right one.
pub(crate) fn named_in(text: &str, module: &[String]) -> Vec<(usize, ModulePath)> {
    let mut found = Vec::new();
    for (begins, path) in written_in(text) {
        let Some(resolved) = resolve(&path, module) else { continue };
        found.push((begins, resolved));
    }
    found
}

fn resolve(path: &[String], module: &[String]) -> Option<ModulePath> {
    let first = path.first()?;
    let ups = path.iter().take_while(|segment| *segment == "super").count();
    let (base, rest) = match first.as_str() {
        "crate" => (module.get(..1)?, path.get(1..)?),
        "self" => (module, path.get(1..)?),
        "super" => (module.get(..module.len().saturating_sub(ups).max(1))?, path.get(ups..)?),
        name if name.starts_with("callvine_") => (module.get(..0)?, path),
        _ => return None,
    };
    Some([base, rest].concat())
}

/// Every path as it is written, trees of `use` one by one, with the number of the line on which it begins.
fn written_in(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    // A tree may go on over several lines; comments between them are no code.
    let lines: Vec<(usize, &str)> = code_lines(text).collect();
    let code: String = lines.iter().flat_map(|(_, line)| [line, "\n"]).collect();
    let mut characters = Characters { rest: &code, line: 0 };
    while let Some(next) = characters.rest.chars().next() {
        if is_of_name(next) {
            let begins = lines.get(characters.line).map_or(0, |(number, _)| *number);
            let mut paths = Vec::new();
            characters.path(Vec::new(), &mut paths);
            found.extend(paths.into_iter().filter(|path| path.len() > 1).map(|path| (begins, path)));
        } else {
            characters.skip(next.len_utf8());
        }
    }
    found
}

/// The code that is still to be read, and the number of lines before it.
struct Characters<'a> {
    rest: &'a str,
    line: usize,
}

impl Characters<'_> {
    fn skip(&mut self, bytes: usize) {
        let (skipped, rest) = self.rest.split_at(bytes);
        self.line += skipped.matches('\n').count();
        self.rest = rest;
    }

    fn blank(&mut self) {
        self.skip(self.rest.len() - self.rest.trim_start().len());
    }

    /// Reads one path, or every path of one tree, each with `prefix` before it.
    fn path(&mut self, mut prefix: Vec<String>, found: &mut Vec<Vec<String>>) {
        loop {
            if self.rest.starts_with('{') {
                return self.branches(&prefix, found);
            }
            let end = self.rest.find(|character| !is_of_name(character)).unwrap_or(self.rest.len());
            if end == 0 {
                // `*` or `<`: the path is known as far as here.
                return found.push(prefix);
            }
            prefix.push(self.rest.get(..end).unwrap().to_owned());
            self.skip(end);
            if !self.rest.starts_with("::") {
                return found.push(prefix);
            }
            self.skip(2);
        }
    }

    fn branches(&mut self, prefix: &[String], found: &mut Vec<Vec<String>>) {
        self.skip(1);
        loop {
            self.blank();
            match self.rest.chars().next() {
                None => return,
                Some('}') => return self.skip(1),
                Some(first) if is_of_name(first) || first == '{' => self.path(prefix.to_vec(), found),
                // `*` names the whole of the prefix.
                Some('*') => {
                    found.push(prefix.to_vec());
                    self.skip(1);
                }
                Some(other) => self.skip(other.len_utf8()),
            }
        }
    }
}

#[test]
fn paths_are_found_in_trees_and_between_other_code() {
    let text = "
        use crate::{bus::{self, Bus}, call};
        // use crate::relay;
        use super::super::objects::*;
        fn f() -> callvine_shared::store::Store { Vec::<u8>::new(); crate::relay::WINDOW }
        use std::time::{
            Duration,
        };
        use self::inner::One;
    ";
    let module = module_of("callvine_shared", "store/sqlite/mod.rs");
    let found: Vec<String> = named_in(text, &module)
        .into_iter()
        .map(|(line, path)| format!("{line} {}", path.join("::")))
        .collect();
    let expected = [
        "2 callvine_shared::bus::self",
        "2 callvine_shared::bus::Bus",
        "2 callvine_shared::call",
        "4 callvine_shared::objects",
        "5 callvine_shared::store::Store",
        "5 callvine_shared::relay::WINDOW",
        "9 callvine_shared::store::sqlite::inner::One",
    ];
    assert_eq!(found, expected);
}
