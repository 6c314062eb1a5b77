//! The part of a representation that a `Range` header asks for (RFC 9110, section 14).

use std::ops::Range;

/// The answer to a `Range` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Requested {
    /// All of it: no range is asked for, or none that is served here. Several ranges at once are not, since players don't
    /// ask for them.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// None of it has these bytes.
    Unsatisfiable,
}

/// Reads `bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-COUNT`, of a representation of so many bytes. A header that is none of these
/// is ignored, as the standard has it.
pub(crate) fn requested(header: Option<&[u8]>, size_bytes: u64) -> Requested {
    let Some((first, last)) = header.and_then(parsed) else { return Requested::Whole };
    let range = match (first, last) {
        (Some(first), Some(last)) if first > last => return Requested::Whole,
        (Some(first), last) => first..last.map_or(size_bytes, |last| last.saturating_add(1)).min(size_bytes),
        (None, Some(count)) => size_bytes.saturating_sub(count)..size_bytes,
        (None, None) => return Requested::Whole,
    };
    if range.is_empty() { Requested::Unsatisfiable } else { Requested::Part(range) }
}

/// The two numbers, of which one may be absent.
fn parsed(header: &[u8]) -> Option<(Option<u64>, Option<u64>)> {
    let text = std::str::from_utf8(header).ok()?;
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    Some((number(first)?, number(last)?))
}

/// Digits alone, or nothing.
fn number(text: &str) -> Option<Option<u64>> {
    match text {
        "" => Some(None),
        // More digits than a number has are more than any representation has.
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(Some(digits.parse().unwrap_or(u64::MAX)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_has_them() {
        for (header, expected) in [
            ("bytes=0-0", Requested::Part(0..1)),
            ("bytes=0-99", Requested::Part(0..100)),
            ("bytes=10-19", Requested::Part(10..20)),
            ("BYTES=10-", Requested::Part(10..100)),
            ("bytes=90-1000", Requested::Part(90..100)),
            ("bytes=0-99999999999999999999999", Requested::Part(0..100)),
            ("bytes=-1", Requested::Part(99..100)),
            ("bytes=-1000", Requested::Part(0..100)),
            ("bytes=100-", Requested::Unsatisfiable),
            ("bytes=100-200", Requested::Unsatisfiable),
            ("bytes=-0", Requested::Unsatisfiable),
            ("bytes=20-10", Requested::Whole),
            ("bytes=-", Requested::Whole),
            ("bytes=0-1,5-6", Requested::Whole),
            ("bytes=+1-2", Requested::Whole),
            ("bytes=a-b", Requested::Whole),
            ("bytes 0-1", Requested::Whole),
            ("lines=0-1", Requested::Whole),
            ("", Requested::Whole),
        ] {
            assert_eq!(requested(Some(header.as_bytes()), 100), expected, "{header}");
        }
        assert_eq!(requested(None, 100), Requested::Whole);
        assert_eq!(requested(Some(b"bytes=0-"), 0), Requested::Unsatisfiable);
        assert_eq!(requested(Some(b"\xff"), 100), Requested::Whole);
    }
}
