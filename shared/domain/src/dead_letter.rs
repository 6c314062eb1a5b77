//! The names of recordings and analyses that were given up.

use std::fmt;
use std::str::FromStr;

use crate::call::CallId;
use crate::names::named;

/// The kind of step that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeadLetterKind {
    /// A recording could not be had.
    Recording,
    /// An analysis could not be made.
    Analysis,
}

named!(DeadLetterKind, "kind of dead letter", { Recording => "recording", Analysis => "analysis" });

/// The name of a dead letter: `r` or `a`, for recording or analysis, and the call's id. It lasts as long as the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterId {
    /// The step that was given up.
    pub kind: DeadLetterKind,
    /// The call that it belongs to.
    pub call_id: CallId,
}

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.kind {
            DeadLetterKind::Recording => 'r',
            DeadLetterKind::Analysis => 'a',
        };
        write!(f, "{letter}{}", self.call_id)
    }
}

impl FromStr for DeadLetterId {
    type Err = NotADeadLetterId;

    fn from_str(text: &str) -> Result<Self, NotADeadLetterId> {
        let (kind, digits) = match text.split_at_checked(1) {
            Some(("r" | "R", digits)) => (DeadLetterKind::Recording, digits),
            Some(("a" | "A", digits)) => (DeadLetterKind::Analysis, digits),
            _ => return Err(NotADeadLetterId),
        };
        match digits.parse() {
            Ok(call_id) if call_id > 0 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Self { kind, call_id: CallId(call_id) })
            }
            _ => Err(NotADeadLetterId),
        }
    }
}

/// A text that names no dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be r or a and the call's id, such as r17 for its recording or a17 for its analysis")]
pub struct NotADeadLetterId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_and_read_back() {
        for (text, kind, call_id) in [
            ("r17", DeadLetterKind::Recording, 17),
            ("a9007199254740991", DeadLetterKind::Analysis, 9_007_199_254_740_991),
        ] {
            let id = DeadLetterId { kind, call_id: CallId(call_id) };
            assert_eq!(id.to_string(), text);
            assert_eq!(text.parse(), Ok(id));
            assert_eq!(text.to_uppercase().parse(), Ok(id));
        }
        for text in ["", "r", "17", "x17", "r-1", "r+1", "r0", "r1.5", "r 1", "ä1", "r99999999999999999999"]
        {
            assert_eq!(text.parse::<DeadLetterId>(), Err(NotADeadLetterId), "{text}");
        }
    }
}
