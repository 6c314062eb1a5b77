//! The body of a transaction: it ends by saying whether it commits or leaves, and never by `return`, which would end it
//! past the commit.

use crate::files::{code_lines, names, none, program_sources};

/// The macro whose body is the transaction.
const MACRO: &str = "with_transaction!(";

#[test]
fn no_transaction_is_left_by_return() {
    let (mut offences, mut count) = (Vec::new(), 0);
    for file in program_sources() {
        for (begins, body) in bodies(&file.text) {
            count += 1;
            for (index, _) in body.lines().enumerate().filter(|(_, line)| names(line, "return")) {
                offences.push(format!("{}:{} returns from a transaction", file.path, begins + index));
            }
        }
    }
    assert!(count > 5, "only {count} transactions found");
    none(&offences);
}

/// Everything between the parentheses of each transaction, and the line on which it begins. Comments are left blank.
fn bodies(text: &str) -> Vec<(usize, String)> {
    let mut lines = vec![""; text.lines().count()];
    for (number, line) in code_lines(text) {
        if let Some(place) = lines.get_mut(number - 1) {
            *place = line;
        }
    }
    let code = lines.join("\n");
    code.match_indices(MACRO)
        .map(|(at, _)| {
            let (before, after) = code.split_at(at + MACRO.len());
            (before.lines().count(), inside(after).to_owned())
        })
        .collect()
}

/// The text up to the parenthesis that closes one opened before it. Parentheses in strings don't count.
fn inside(text: &str) -> &str {
    let (mut depth, mut is_string, mut is_escaped) = (1, false, false);
    for (at, character) in text.char_indices() {
        match character {
            '"' if !is_escaped => is_string = !is_string,
            '(' if !is_string => depth += 1,
            ')' if !is_string => depth -= 1,
            _ => {}
        }
        is_escaped = is_string && character == '\\' && !is_escaped;
        if depth == 0 {
            return text.get(..at).unwrap();
        }
    }
    panic!("a parenthesis is not closed: {text}")
}

#[test]
fn a_transaction_ends_with_its_parenthesis() {
    let text = "
        with_transaction!(self, tx => {
            // return (
            f(\"\\\"(\", g());
            return Ok(());
        });
        return;
    ";
    let found = bodies(text);
    assert_eq!(found.len(), 1);
    let (begins, body) = &found[0];
    assert_eq!((*begins, body.matches("return").count()), (2, 1), "{body}");
    assert!(body.ends_with("}"), "{body}");
}
