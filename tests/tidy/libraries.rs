//! Which room may name which library, and which libraries may not come in at all.

use std::collections::BTreeSet;

use crate::files::{code_lines, names, none, program_sources, read};

/// A text, and the only paths in the program's own crates under which it may stand (prefixes).
const PRIVILEGES: [(&str, &[&str]); 12] = [
    ("sqlx::", &["shared/src/store/"]),
    ("lapin::", &["shared/src/bus/rabbitmq"]),
    ("deadpool::", &["shared/src/bus/rabbitmq"]),
    ("object_store::", &["shared/src/objects/s3"]),
    ("hyper::", HTTP),
    ("hyper_util::", HTTP),
    ("std::env", &["callvine/src/"]),
    ("io::stdout", TERMINAL),
    ("stdout()", TERMINAL),
    ("println!", &[]),
    ("print!", &[]),
    ("eprintln!", &[]),
];

/// Where standard output is written.
const TERMINAL: &[&str] = &["callvine/src/terminal.rs"];

/// Where HTTP is spoken.
const HTTP: &[&str] =
    &["gateway/src/", "callvine/src/commands/demo", "worker/src/recording/fetch/", "shared/src/objects/s3/"];

/// Folders that only compute, and the texts that show that something does more. Audio is read from files that are open.
const PURE: [(&str, &[&str]); 2] = [
    ("shared/domain/src/", &["async", "await", "tokio", "sqlx", "std::env", "std::net::Tcp", "std::fs"]),
    ("shared/audio/src/", &["async", "await", "tokio", "sqlx", "std::env", "std::net"]),
];

#[test]
fn libraries_are_named_only_where_they_belong() {
    let mut offences = Vec::new();
    for file in program_sources() {
        for (number, line) in code_lines(&file.text) {
            for (name, places) in PRIVILEGES {
                if names(line, name) && !places.iter().any(|place| file.path.starts_with(place)) {
                    offences.push(format!("{}:{number} names {name}: {}", file.path, line.trim()));
                }
            }
        }
    }
    none(&offences);
}

#[test]
fn pure_files_do_nothing_but_compute() {
    let mut offences = Vec::new();
    for (folder, impurities) in PURE {
        let mut count = 0;
        for file in program_sources().iter().filter(|file| file.path.starts_with(folder)) {
            count += 1;
            for (number, line) in code_lines(&file.text) {
                for impurity in impurities.iter().filter(|impurity| names(line, impurity)) {
                    offences.push(format!("{}:{number} has {impurity}: {}", file.path, line.trim()));
                }
            }
        }
        assert!(count > 0, "{folder} has no files any more: mend the table");
    }
    none(&offences);
}

#[test]
fn no_banned_crate_is_linked() {
    let deny = read("deny.toml");
    let banned: Vec<&str> = deny
        .lines()
        .filter_map(|line| line.trim().strip_prefix("{ name = \"")?.strip_suffix("\" },"))
        .collect();
    assert!(banned.contains(&"openssl-sys"), "the list of banned crates in deny.toml is not found");
    let lock = read("Cargo.lock");
    let locked: BTreeSet<&str> = lock.lines().filter_map(|line| line.strip_prefix("name = ")).collect();
    for name in banned {
        assert!(
            !locked.contains(format!("\"{name}\"").as_str()),
            "Cargo.lock has {name}, which deny.toml bans"
        );
    }
}

#[test]
fn each_further_version_of_a_crate_has_a_reason() {
    let deny = read("deny.toml");
    let excused: BTreeSet<(String, String)> = deny
        .lines()
        .filter_map(|line| line.trim().strip_prefix("{ crate = \"")?.split_once("\", reason = \""))
        .filter(|(_, reason)| reason.len() > "\" },".len())
        .filter_map(|(spec, _)| spec.split_once('@'))
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .collect();
    let lock = read("Cargo.lock");
    let mut locked: BTreeSet<(String, String)> = BTreeSet::new();
    let mut name = "";
    for line in lock.lines() {
        if let Some(text) = line.strip_prefix("name = ") {
            name = text.trim_matches('"');
        } else if let (Some(text), false) = (line.strip_prefix("version = "), name.is_empty()) {
            locked.insert((name.to_owned(), text.trim_matches('"').to_owned()));
        }
    }
    assert!(locked.len() > 100, "no crates are found in Cargo.lock");
    let mut offences: Vec<String> = excused
        .difference(&locked)
        .map(|(name, version)| format!("deny.toml excuses {name}@{version}, which is gone"))
        .collect();
    let left: Vec<&(String, String)> = locked.difference(&excused).collect();
    for (first, second) in left.iter().zip(left.iter().skip(1)) {
        if first.0 == second.0 {
            offences
                .push(format!("{} is there as {} and {}: say why in deny.toml", first.0, first.1, second.1));
        }
    }
    none(&offences);
}
