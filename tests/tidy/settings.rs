//! README's table of settings against `--help`.

use std::collections::BTreeSet;

use harness::Callvine;

use crate::files::read;

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
