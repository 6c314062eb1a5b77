//! The form of a key, by which a typing error, a cut or a mistaken text is told from a key before it is looked up, and by
//! which scanners find keys that were published by mistake.
//!
//! A key is `cv_live_` or `cv_test_`, 32 random characters and 6 of checksum, all of base62 (`0-9A-Za-z`). The checksum is
//! the CRC-32 of everything before it, its digits the most significant first, padded with zeros: as in GitHub's tokens
//! (GitHub Blog, "Behind GitHub's new authentication token formats", 2021), but over the prefix too.

use super::Environment;

/// The digits of base62, in GitHub's order.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Random characters in a key: 190 bits, far beyond guessing, so that one SHA-256 protects it as well as a slow hash would.
const RANDOM_CHARS: usize = 32;

/// Base62 digits of a CRC-32: 62^6 is above 2^32.
const CHECKSUM_CHARS: usize = 6;

/// Bytes of each prefix, `cv_live_` and `cv_test_`.
const PREFIX_CHARS: usize = 8;

/// Hexadecimal digits after the prefix in keys of the first form, which has no checksum. Those that were made stay valid.
const OLD_RANDOM_CHARS: usize = 40;

/// Random bytes that a key is made of: four a character, so that the remainder by 62 favours no character by more than
/// one part in 2^26.
pub(super) const RANDOM_BYTES: usize = RANDOM_CHARS * 4;

/// The key of these random bytes.
pub(super) fn write(environment: Environment, random: &[u8; RANDOM_BYTES]) -> String {
    let mut key = format!("cv_{environment}_");
    let (numbers, _none) = random.as_chunks();
    key.extend(numbers.iter().map(|bytes| digit(u32::from_le_bytes(*bytes))));
    let checksum = checksum(key.as_bytes());
    key.extend(checksum.map(char::from));
    key
}

/// Whether a text can be a key at all. One that begins as our keys do must have the length, the characters and the
/// checksum of one; any other may be a published test key.
#[must_use]
pub fn could_be_a_key(text: &[u8]) -> bool {
    if !text.starts_with(b"cv_live_") && !text.starts_with(b"cv_test_") {
        return true;
    }
    let Some(random) = text.get(PREFIX_CHARS..) else { return false };
    let is_old = random.len() == OLD_RANDOM_CHARS
        && random.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
    is_old || (random.len() == RANDOM_CHARS + CHECKSUM_CHARS && has_its_checksum(text))
}

/// Whether the last characters are the checksum of the others, and all of them base62.
fn has_its_checksum(key: &[u8]) -> bool {
    let Some((checked, sent)) = key.split_last_chunk::<CHECKSUM_CHARS>() else { return false };
    let random = checked.get(PREFIX_CHARS..).unwrap_or_default();
    random.iter().all(u8::is_ascii_alphanumeric) && *sent == checksum(checked)
}

/// The CRC-32 (ISO-HDLC, as in zip) of a text as base62 digits.
fn checksum(text: &[u8]) -> [u8; CHECKSUM_CHARS] {
    let mut rest = crc32fast::hash(text);
    let mut digits = [0; CHECKSUM_CHARS];
    for place in digits.iter_mut().rev() {
        *place = u8::try_from(digit(rest)).unwrap_or_default();
        rest /= 62;
    }
    digits
}

/// The last base62 digit of a number.
fn digit(number: u32) -> char {
    let index = usize::try_from(number % 62).unwrap_or_default();
    DIGITS.get(index).copied().map_or('0', char::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its checksum independently: Python's `zlib.crc32` over `cv_live_` and 32 zeros, in base62.
    const KEY: &str = "cv_live_000000000000000000000000000000004ZF4nn";

    #[test]
    fn a_key_is_its_prefix_its_random_characters_and_their_checksum() {
        assert_eq!(write(Environment::Live, &[0; RANDOM_BYTES]), KEY);
        // The characters of 0 to 31, and an independent checksum again.
        let mut random = [0; RANDOM_BYTES];
        for (number, bytes) in (0_u32..).zip(random.as_chunks_mut().0) {
            *bytes = (number + 62).to_le_bytes();
        }
        assert_eq!(write(Environment::Test, &random), "cv_test_0123456789ABCDEFGHIJKLMNOPQRSTUV3KYuVF");
    }

    #[test]
    fn a_key_with_one_wrong_character_is_none() {
        assert!(could_be_a_key(KEY.as_bytes()));
        for index in 0..KEY.len() {
            for wrong in [b'1', b'z', b'A', b'!', b' ', 0xff] {
                let mut mistyped = KEY.as_bytes().to_vec();
                if mistyped[index] != wrong && index >= PREFIX_CHARS {
                    mistyped[index] = wrong;
                    assert!(!could_be_a_key(&mistyped), "{index}: {}", mistyped.escape_ascii());
                }
            }
        }
        for (index, pair) in KEY.as_bytes().windows(2).enumerate().filter(|(_, pair)| pair[0] != pair[1]) {
            let mut swapped = KEY.as_bytes().to_vec();
            swapped[index] = pair[1];
            swapped[index + 1] = pair[0];
            let is_ours = swapped.starts_with(b"cv_live_");
            assert!(!is_ours || !could_be_a_key(&swapped), "{index}");
        }
    }

    #[test]
    fn keys_are_told_from_other_texts_by_their_form() {
        let old = format!("cv_live_{}", "0123456789abcdef0123".repeat(2));
        let other_environment = KEY.replace("live", "test");
        for (text, could_be) in [
            (KEY, true),
            (old.as_str(), true),
            (&old.replace("live", "test"), true),
            ("test_key_123", true),
            ("prod_key_456", true),
            ("", true),
            (other_environment.as_str(), false),
            (&KEY[..KEY.len() - 1], false),
            (&format!("{KEY}0"), false),
            ("cv_live_", false),
            ("cv_test_short", false),
            (&old[..old.len() - 1], false),
            (&old.to_uppercase().replace("CV_LIVE_", "cv_live_"), false),
            (&old.replace('f', "g"), false),
        ] {
            assert_eq!(could_be_a_key(text.as_bytes()), could_be, "{text}");
        }
    }
}
