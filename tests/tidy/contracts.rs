//! The store's methods against the tests of its contract: a statement that no contract executes may be wrong on one
//! of the databases.

use std::collections::BTreeSet;

use crate::files::{code_lines, names, none, program_sources, sources};

#[test]
fn every_method_of_the_store_is_called_by_a_contract() {
    let mut methods = BTreeSet::new();
    for file in program_sources().iter().filter(|file| file.path.starts_with("shared/src/store/")) {
        for method in public_methods(&file.text) {
            methods.insert((file.path.clone(), method.to_owned()));
        }
    }
    assert!(methods.len() > 40, "only {methods:?} found");

    // A file without the macro tests one database alone; `mod.rs` has what the others share.
    let is_contract = |text: &str| text.contains("contract!(");
    let contracts: Vec<_> = sources()
        .into_iter()
        .filter(|file| file.path.starts_with("tests/contract/store/"))
        .filter(|file| is_contract(&file.text) || file.path.ends_with("/mod.rs"))
        .collect();
    let is_called = |method: &str| {
        let (by_value, by_type) = (format!(".{method}("), format!("Store::{method}("));
        contracts
            .iter()
            .flat_map(|file| code_lines(&file.text))
            .any(|(_, line)| line.contains(&by_value) || names(line, &by_type))
    };
    let offences: Vec<String> = methods
        .iter()
        .filter(|(_, method)| !is_called(method))
        .map(|(path, method)| format!("{path}: no contract in tests/contract/store calls {method}"))
        .collect();
    none(&offences);
}

/// The public methods in blocks `impl Store { … }`, as rustfmt writes them.
fn public_methods(text: &str) -> impl Iterator<Item = &str> {
    let blocks = text.split("\nimpl Store {\n").skip(1).filter_map(|rest| rest.split("\n}\n").next());
    let lines = blocks.flat_map(str::lines);
    lines.filter_map(|line| {
        let signature = line.strip_prefix("    pub ")?;
        let signature = signature.trim_start_matches("const ").trim_start_matches("async ");
        signature.strip_prefix("fn ")?.split(['(', '<']).next()
    })
}

#[test]
fn public_methods_are_told_from_others() {
    let text = "
impl Other {
    pub fn no(&self) {}
}

impl Store {
    /// One.
    pub async fn one(
        &self,
    ) {
        fn inner() {}
    }

    pub(crate) fn no(&self) {}

    pub fn two<T>(&self) {}

    async fn no_either(&self) {}
}

impl Store {
    pub const fn three() {}
}
";
    assert_eq!(public_methods(text).collect::<Vec<_>>(), ["one", "two", "three"]);
}
