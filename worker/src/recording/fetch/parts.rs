//! Parts of a recording, by the `Content-Range` of a 206 (RFC 9110, 14.4).

use http::header::{CONTENT_RANGE, HeaderMap};

/// The bytes that a partial answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) first: u64,
    last: u64,
    /// Bytes of the whole recording; `None` where the host does not know yet.
    pub(super) total: Option<u64>,
}

impl Part {
    /// The part of this answer; `None` where it names none, or one that can't be.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(CONTENT_RANGE)?.to_str().ok()?.trim();
        let (unit, range) = text.split_once(' ')?;
        let (bytes, total) = range.trim().split_once('/')?;
        let (first, last) = bytes.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let total = if total == "*" { None } else { Some(number(total)?) };
        let is_possible = first <= last && total.is_none_or(|total| last < total);
        (unit.eq_ignore_ascii_case("bytes") && is_possible).then_some(Self { first, last, total })
    }

    /// Whether it is all of the recording.
    pub(super) fn is_whole(self) -> bool {
        self.first == 0 && self.total.is_some_and(|total| self.last.checked_add(1) == Some(total))
    }
}

/// Digits alone: a sign is no part of the grammar.
fn number(text: &str) -> Option<u64> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_and_the_whole_is_known() {
        for (text, expected) in [
            ("bytes 0-63999/64000", Some((0, Some(64_000), true))),
            ("Bytes  0-0/1", Some((0, Some(1), true))),
            ("bytes 0-63998/64000", Some((0, Some(64_000), false))),
            ("bytes 1-63999/64000", Some((1, Some(64_000), false))),
            ("bytes 500-999/*", Some((500, None, false))),
            ("bytes 0-999/*", Some((0, None, false))),
            ("bytes 0-64000/64000", None),
            ("bytes 5-4/64000", None),
            ("bytes */64000", None),
            ("bytes 0-63999", None),
            ("bytes +0-1/2", None),
            ("bytes 0-18446744073709551616/18446744073709551617", None),
            ("items 0-1/2", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, text.parse().unwrap());
            let part = Part::of(&headers).map(|part| (part.first, part.total, part.is_whole()));
            assert_eq!(part, expected, "{text}");
        }
        assert_eq!(Part::of(&HeaderMap::new()), None);
    }
}
