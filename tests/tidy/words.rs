//! The first word of a comment's sentence: it names its subject.

use crate::files::{none, sources};

/// Words that begin a sentence whose subject must be guessed. A question may begin so.
const VAGUE: [&str; 3] = ["What ", "Who ", "Of "];

#[test]
fn no_sentence_of_a_comment_begins_vaguely() {
    let mut offences = Vec::new();
    for file in sources() {
        for (begins, comment) in comments(&file.text) {
            for sentence in sentences(&comment).into_iter().filter(|sentence| is_vague(sentence)) {
                offences.push(format!("{}:{begins}: {sentence}", file.path));
            }
        }
    }
    none(&offences);
}

/// Every paragraph of comments as one line of text, with the number of the line on which it begins.
fn comments(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    for (index, line) in text.lines().enumerate() {
        let comment =
            line.trim_start().strip_prefix("//").map(|rest| rest.trim_start_matches(['/', '!']).trim());
        match comment {
            Some(words) if !words.is_empty() => {
                // An item of a list is a paragraph of its own.
                let item = words.strip_prefix("- ");
                match found.last_mut() {
                    Some((_, paragraph)) if is_open && item.is_none() => {
                        paragraph.push(' ');
                        paragraph.push_str(words);
                    }
                    _ => found.push((index + 1, item.unwrap_or(words).to_owned())),
                }
                is_open = true;
            }
            _ => is_open = false,
        }
    }
    found
}

/// The sentences of a paragraph, each with the mark that ends it.
fn sentences(paragraph: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = paragraph;
    while let Some(end) = [". ", "! ", "? "].iter().filter_map(|mark| rest.find(mark)).min() {
        let (sentence, others) = rest.split_at(end + 1);
        found.push(sentence);
        rest = others.trim_start();
    }
    found.push(rest);
    found
}

fn is_vague(sentence: &str) -> bool {
    VAGUE.iter().any(|word| sentence.starts_with(word)) && !sentence.ends_with('?')
}

#[test]
fn sentences_are_found_in_paragraphs() {
    let text =
        "/// One, of two\n/// lines. What now? What then.\n///\n/// - Of a list\nlet it = 1;\n// Who else\n";
    let found: Vec<String> = comments(text)
        .iter()
        .flat_map(|(line, comment)| {
            sentences(comment).into_iter().map(move |words| format!("{line} {words}"))
        })
        .collect();
    let expected = ["1 One, of two lines.", "1 What now?", "1 What then.", "4 Of a list", "6 Who else"];
    assert_eq!(found, expected);
    assert_eq!(
        ["What now?", "What then.", "Of a list", "Whatever"].map(is_vague),
        [false, true, true, false]
    );
}
