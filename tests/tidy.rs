//! The rules of ARCHITECTURE.md and CONTRIBUTING.md that a program can check and the compiler doesn't.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use harness::Callvine;

/// Longest source file, in lines.
const MAX_LINES: usize = 400;
/// The folders with Rust code.
const ROOMS: [&str; 6] = ["shared", "gateway", "worker", "callvine", "tests", "bench"];
/// What may lie in a checkout and is nothing of ours, beside every hidden folder but [`OURS_THOUGH_HIDDEN`].
const NOT_OURS: [&str; 3] = ["target", "callvine-data", ".git"];
/// Hidden folders of ours.
const OURS_THOUGH_HIDDEN: [&str; 1] = [".ci"];

/// Who may name what: the text, and where alone it may stand in the program's own crates (prefixes of paths).
const PRIVILEGES: [(&str, &[&str]); 8] = [
    ("sqlx::", &["shared/src/store/"]),
    ("lapin::", &["shared/src/bus/rabbitmq"]),
    ("deadpool::", &["shared/src/bus/rabbitmq"]),
    ("object_store::", &["shared/src/objects/s3"]),
    ("hyper::", HTTP),
    ("hyper_util::", HTTP),
    ("std::env", &["callvine/src/"]),
    ("println!", &["callvine/src/"]),
];

/// Where HTTP is spoken.
const HTTP: &[&str] =
    &["gateway/src/", "callvine/src/commands/demo", "worker/src/recording/fetch/", "shared/src/objects/s3/"];

/// Files and folders that only compute, and what shows that something does more.
const PURE: [&str; 1] = ["shared/domain/src/"];
const IMPURITIES: [&str; 7] = ["async", "await", "tokio", "sqlx", "std::fs", "std::env", "std::net::Tcp"];

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
    for file in program_sources() {
        if !PURE.iter().any(|place| file.path.starts_with(place)) {
            continue;
        }
        for (number, line) in code_lines(&file.text) {
            for impurity in IMPURITIES.iter().filter(|impurity| names(line, impurity)) {
                offences.push(format!("{}:{number} has {impurity}: {}", file.path, line.trim()));
            }
        }
    }
    none(&offences);
}

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

#[test]
fn both_databases_have_the_same_migrations() {
    let of = |database: &str| -> BTreeSet<String> {
        let folder = root().join("migrations").join(database);
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let postgres = of("postgres");
    assert_eq!(postgres, of("sqlite"));
    let numbers: Vec<u32> =
        postgres.iter().map(|name| name.split_once('_').unwrap().0.parse().unwrap()).collect();
    let consecutive: Vec<u32> = (1..).take(numbers.len()).collect();
    assert_eq!(numbers, consecutive, "numbers have gaps, or stand twice: {postgres:?}");
}

#[test]
fn every_event_is_in_the_published_description() {
    let description = read("docs/asyncapi.yaml");
    let source = read("shared/domain/src/event.rs");
    let keys: Vec<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": &str = \"")?.1.strip_suffix("\";"))
        .filter(|text| {
            text.starts_with("call.") || text.starts_with("recording.") || text.starts_with("analysis.")
        })
        .collect();
    assert!(keys.len() >= 5, "only {keys:?} found in shared/domain/src/event.rs");
    for key in keys {
        assert!(description.contains(&format!("address: {key}\n")), "docs/asyncapi.yaml lacks {key}");
    }
}

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

/// `make demo` selects no tests: a feature that only their dependencies ask for would have a crate compiled twice.
#[test]
fn the_demo_and_the_tests_compile_the_same_dependencies() {
    let features = |edges: &str| -> BTreeSet<String> {
        let tree = std::process::Command::new(env!("CARGO"))
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
    };
    let (demo, tests) = (features("normal,build"), features("normal,build,dev"));
    let differ: Vec<String> = demo.difference(&tests).cloned().collect();
    none(&differ);
}

/// README's table has every variable that `--help` of any command names, and no other.
#[tokio::test]
async fn every_setting_is_in_the_readme() {
    let mut in_help = BTreeSet::new();
    let mut commands = vec![Vec::new()];
    while let Some(command) = commands.pop() {
        let help = help_of(&command).await;
        in_help.extend(variables(&help));
        for name in subcommands(&help) {
            commands.push([command.clone(), vec![name]].concat());
        }
    }
    assert!(in_help.contains("CALLVINE_LISTEN"), "only these variables found in --help: {in_help:?}");
    let readme = read("README.md");
    let in_readme: BTreeSet<String> = readme
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .filter(|name| name.chars().all(|character| character.is_ascii_uppercase() || character == '_'))
        .collect();
    let missing: Vec<_> = in_help.difference(&in_readme).collect();
    let unknown: Vec<_> = in_readme.difference(&in_help).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "README lacks {missing:?}, and --help lacks {unknown:?}"
    );
}

async fn help_of(command: &[String]) -> String {
    let (first, rest) =
        command.split_first().map_or(("--help", command), |(first, rest)| (first.as_str(), rest));
    let mut program = Callvine::new(first).args(rest);
    if first != "--help" {
        program = program.arg("--help");
    }
    let finished = program.run().await;
    finished.assert_code(0);
    finished.stdout
}

/// The variables in clap's help (`[env: NAME=value]`, wherever the line breaks).
fn variables(help: &str) -> Vec<String> {
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let after = words.split("[env: ").skip(1);
    after.filter_map(|text| Some(text.split(['=', ']']).next()?.to_owned())).collect()
}

/// The subcommands in clap's help: two blanks, the name, and more blanks, below `Commands:`.
fn subcommands(help: &str) -> Vec<String> {
    let list = help.split_once("Commands:\n").map_or("", |(_, after)| after);
    let list = list.split("\n\n").next().unwrap_or_default();
    list.lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .map(str::to_owned)
        .collect()
}

/// A file of the project, with its path from the root.
struct Text {
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file that is text.
fn texts() -> Vec<Text> {
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
fn sources() -> Vec<Text> {
    let in_room = |path: &str| ROOMS.iter().any(|room| path.starts_with(&format!("{room}/")));
    let found: Vec<Text> =
        texts().into_iter().filter(|file| file.path.ends_with(".rs") && in_room(&file.path)).collect();
    assert!(found.len() > 20, "only {} source files found", found.len());
    found
}

/// The Rust files of the program itself: not the tests, not the benchmark, not build scripts.
fn program_sources() -> Vec<Text> {
    let is_program =
        |path: &str| path.contains("/src/") && !path.starts_with("tests/") && !path.starts_with("bench/");
    sources().into_iter().filter(|file| is_program(&file.path)).collect()
}

/// The lines that are code, with their numbers.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether a line has this name and not only a longer one that ends or goes on like it.
fn names(line: &str, name: &str) -> bool {
    let is_of_name = |character: char| character.is_alphanumeric() || character == '_';
    let ends_open = name.ends_with(is_of_name);
    line.match_indices(name).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + name.len()..).and_then(|text| text.chars().next());
        let is_longer = before.is_some_and(is_of_name) || ends_open && after.is_some_and(is_of_name);
        !is_longer
    })
}

/// Whether a word of a document is the path of a file of ours.
fn is_path(word: &str) -> bool {
    let tops =
        ["shared/", "gateway/", "worker/", "callvine/", "tests/", "migrations/", "docs/", "demo/", "bench/"];
    tops.iter().any(|top| word.starts_with(top)) && !word.contains(['<', '*', '{', '…'])
}

#[track_caller]
fn none(offences: &[String]) {
    assert!(offences.is_empty(), "{} offences:\n{}", offences.len(), offences.join("\n"));
}
