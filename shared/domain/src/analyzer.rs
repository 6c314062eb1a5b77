//! The names of analyzers.

use std::fmt;
use std::str::FromStr;

/// The analyzer that ships with Callvine.
pub const QUALITY: &str = "quality";

/// The transcripts that Callvine asks an endpoint for.
pub const TRANSCRIPT: &str = "transcript";

/// Longest name of an analyzer, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// The name under which somebody's own analyzer answers: 1 to 64 of `a-z0-9_-`, and none that Callvine uses itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AnalyzerName(String);

impl AnalyzerName {
    /// The name as it is published.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AnalyzerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AnalyzerName {
    type Err = NotAnAnalyzerName;

    fn from_str(text: &str) -> Result<Self, NotAnAnalyzerName> {
        let is_allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        let is_ours = [QUALITY, TRANSCRIPT].contains(&text);
        let fits = (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_allowed);
        if fits && !is_ours { Ok(Self(text.to_owned())) } else { Err(NotAnAnalyzerName) }
    }
}

/// A text that names no analyzer of somebody's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 of a-z, 0-9, _ and -, and not a name that Callvine uses itself")]
pub struct NotAnAnalyzerName;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain_and_not_ours() {
        for name in ["a", "sentiment-2", "acme_talk", "-", &"x".repeat(64)] {
            assert_eq!(name.parse::<AnalyzerName>().unwrap().as_str(), name);
        }
        for name in ["", "quality", "transcript", "Acme", "a b", "a/b", "é", "a.b", &"x".repeat(65)] {
            assert_eq!(name.parse::<AnalyzerName>(), Err(NotAnAnalyzerName), "{name}");
        }
    }
}
