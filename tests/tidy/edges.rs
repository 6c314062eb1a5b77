//! The edges between crates and modules: the picture in ARCHITECTURE.md.

use std::collections::BTreeSet;

use crate::files::{none, program_sources, read};
use crate::paths::{module_of, named_in};

/// A crate of the program.
struct Crate {
    name: &'static str,
    folder: &'static str,
    /// The crates of ours that it may depend on.
    below: &'static [&'static str],
}

/// The crates of the program, the lowest first.
const CRATES: [Crate; 7] = [
    Crate { name: "callvine-domain", folder: "shared/domain", below: &[] },
    Crate { name: "callvine-audio", folder: "shared/audio", below: &["callvine-domain"] },
    Crate { name: "callvine-shared", folder: "shared", below: &["callvine-domain", "callvine-audio"] },
    Crate { name: "callvine-operator", folder: "operator", below: &["callvine-domain", "callvine-shared"] },
    Crate {
        name: "callvine-worker",
        folder: "worker",
        below: &["callvine-domain", "callvine-audio", "callvine-shared"],
    },
    Crate {
        name: "callvine-gateway",
        folder: "gateway",
        below: &["callvine-domain", "callvine-shared", "callvine-operator"],
    },
    Crate {
        name: "callvine",
        folder: "callvine",
        below: &[
            "callvine-domain",
            "callvine-shared",
            "callvine-operator",
            "callvine-worker",
            "callvine-gateway",
        ],
    },
];

/// Members of the workspace that are no part of the program, and the crates of ours that they may depend on. The benchmark
/// sees the program from outside, so that it measures older builds too.
const BESIDE_THE_PROGRAM: [(&str, &[&str]); 3] = [
    ("tests", &["callvine", "callvine-shared"]),
    ("bench", &["callvine-domain", "harness"]),
    ("bench/instructions", &["callvine-domain"]),
];

/// The crates that only compute, and the libraries that none of them may have.
const PURE: [&str; 2] = ["callvine-domain", "callvine-audio"];
const IMPURE: [&str; 6] = ["tokio", "sqlx", "lapin", "http", "hyper", "reqwest"];

/// Modules, and the modules that they must never name.
const NEVER: [(&str, &[&str]); 11] = [
    (
        "callvine_shared::store",
        &["callvine_shared::bus", "callvine_shared::relay", "callvine_shared::objects"],
    ),
    (
        "callvine_shared::objects",
        &["callvine_shared::store", "callvine_shared::bus", "callvine_shared::relay"],
    ),
    ("callvine_shared::bus", &["callvine_shared::relay", "callvine_shared::objects"]),
    ("callvine_shared::bus::rabbitmq", &["callvine_shared::store"]),
    ("callvine_gateway::webhook", ASIDE),
    ("callvine_gateway::intake", ASIDE),
    ("callvine_gateway::auth", ASIDE),
    ("callvine_gateway::rate", ASIDE),
    ("callvine_gateway::body", ASIDE),
    ("callvine_gateway::calls", ASIDE),
    ("callvine_gateway::public", ASIDE),
];

/// Modules that a request must not wait for.
const ASIDE: &[&str] =
    &["callvine_shared::bus", "callvine_shared::objects", "callvine_operator", "callvine_gateway::admin"];

#[test]
fn crates_depend_only_on_those_below_them() {
    let mut offences = Vec::new();
    let program = CRATES.iter().map(|each| (each.folder, each.below));
    for (folder, below) in program.chain(BESIDE_THE_PROGRAM) {
        for dependency in dependencies(folder) {
            let is_ours = dependency.starts_with("callvine") || dependency == "harness";
            if is_ours && !below.contains(&dependency.as_str()) {
                offences.push(format!("{folder}/Cargo.toml must not depend on {dependency}"));
            }
        }
    }
    none(&offences);
}

#[test]
fn every_crate_of_the_workspace_has_its_place() {
    let manifest = read("Cargo.toml");
    let (_, members) = manifest.split_once("members = [").unwrap();
    let (members, _) = members.split_once(']').unwrap();
    let members: BTreeSet<&str> = members
        .split(',')
        .map(|member| member.trim().trim_matches('"'))
        .filter(|name| !name.is_empty())
        .collect();
    let known: BTreeSet<&str> =
        CRATES.iter().map(|each| each.folder).chain(BESIDE_THE_PROGRAM.map(|(folder, _)| folder)).collect();
    assert_eq!(members, known, "Cargo.toml's members against the table of crates");
    for Crate { name, folder, .. } in CRATES {
        assert!(read(&format!("{folder}/Cargo.toml")).contains(&format!("name = \"{name}\"\n")), "{folder}");
    }
}

#[test]
fn pure_crates_link_no_runtime_database_broker_or_http() {
    let mut offences = Vec::new();
    for Crate { name, folder, .. } in CRATES.iter().filter(|each| PURE.contains(&each.name)) {
        let dependencies = dependencies(folder);
        assert!(!dependencies.is_empty(), "no dependency of {name} is found");
        for impure in IMPURE.iter().filter(|impure| dependencies.contains(**impure)) {
            offences.push(format!("{folder}/Cargo.toml: {name} must not depend on {impure}"));
        }
    }
    none(&offences);
}

#[test]
fn no_module_names_one_that_it_must_never_name() {
    let mut offences = Vec::new();
    let mut seen = BTreeSet::new();
    for file in program_sources() {
        let Crate { name, folder, .. } = crate_of(&file.path);
        let path = file.path.strip_prefix(&format!("{folder}/src/")).unwrap();
        let module = module_of(&name.replace('-', "_"), path);
        for (room, never) in NEVER.iter().filter(|(room, _)| is_within(&module, room)) {
            seen.insert(*room);
            for (line, named) in named_in(&file.text, &module) {
                if never.iter().any(|never| is_within(&named, never)) {
                    offences.push(format!("{}:{line}: {room} must not name {}", file.path, named.join("::")));
                }
            }
        }
    }
    for (room, _) in NEVER {
        assert!(seen.contains(room), "there is no {room} any more: mend the table");
    }
    none(&offences);
}

/// The names in every list of dependencies, those of tests included.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest = read(&format!("{folder}/Cargo.toml"));
    let mut found = BTreeSet::new();
    let mut is_list = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            is_list = section.trim_end_matches(']').ends_with("dependencies");
        } else if is_list && let Some((name, _)) = line.split_once(['.', ' ', '=']) {
            found.insert(name.to_owned());
        }
    }
    found
}

/// The crate whose folder this file is in; `shared/domain` comes before `shared`.
fn crate_of(path: &str) -> &'static Crate {
    let is_in = |each: &&Crate| path.starts_with(&format!("{}/src/", each.folder));
    CRATES.iter().find(is_in).unwrap_or_else(|| panic!("{path} is in no crate of the table"))
}

fn is_within(path: &[String], module: &str) -> bool {
    let mut segments = path.iter();
    module.split("::").all(|segment| segments.next().is_some_and(|own| own == segment))
}
