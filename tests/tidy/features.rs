//! The demo and the tests build each dependency once.

use std::collections::BTreeSet;
use std::process::Command;

use crate::files::{none, root};

/// `make demo` selects no tests: a feature that only their dependencies ask for would have a crate compiled twice.
#[test]
fn the_demo_and_the_tests_compile_the_same_dependencies() {
    let (demo, tests) = (features("normal,build"), features("normal,build,dev"));
    assert!(demo.len() > 100, "only {} crates found", demo.len());
    let differ: Vec<String> = demo.difference(&tests).cloned().collect();
    none(&differ);
}

/// Every crate that is compiled along these edges, with its version and features.
fn features(edges: &str) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "--workspace",
            "--prefix=none",
            "--format={p} {f}",
            "--edges",
        ])
        .arg(edges)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).unwrap();
    text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
}
