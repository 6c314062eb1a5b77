//! The JSON of calls: reads the published fields of a request's body, and writes a call's fields into an answer.
//!
//! Values are kept as they were sent until their type is known, since a telephone number may be an integer with more
//! digits than any number type holds.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use chrono::{Datelike, NaiveDateTime, Timelike};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Invalid;

/// Deepest nesting of objects and arrays, the body's own object included. The limit of `serde_json` does not reach into
/// values that are skipped or kept as text.
const DEPTH_MAX: usize = 128;

/// A byte order mark. RFC 8259, section 8.1, lets a reader skip it.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The published fields of a request's body.
pub(super) struct Fields<'a> {
    pub(super) from_phone: Value<'a>,
    pub(super) to_phone: Value<'a>,
    pub(super) handled_by: Value<'a>,
    pub(super) start_time: Value<'a>,
    pub(super) end_time: Value<'a>,
    pub(super) recording_url: Value<'a>,
    pub(super) department: Value<'a>,
}

/// The value that was sent for a field.
pub(super) enum Value<'a> {
    /// Nothing, null, or white space alone.
    Missing,
    /// A string, or an integer of digits alone where it counts as their string.
    Sent(Sent<'a>),
    /// Anything else.
    NotText,
}

/// The string that was sent for a field.
pub(super) enum Sent<'a> {
    Text(Cow<'a, str>),
    /// It has half of a surrogate pair in it.
    HalfCharacter,
}

impl<'a> Fields<'a> {
    /// Reads one JSON object in UTF-8; fields that are not published are skipped.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Invalid> {
        let text = std::str::from_utf8(body).map_err(|_not_utf8| Invalid::Json)?;
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        if is_too_deep(text) {
            return Err(Invalid::Json);
        }
        let raw = RawFields::of::<Name>(text).or_else(|error| {
            // A name that is not published may have half of a surrogate pair. Names are read as they were sent then, which
            // takes longer.
            if text.contains("\\u") { RawFields::of::<RawName<'a>>(text) } else { Err(error) }
        });
        let raw = raw.map_err(|_not_an_object| Invalid::Json)?;
        Ok(Self {
            from_phone: Value::text_or_digits(raw.from_phone),
            to_phone: Value::text_or_digits(raw.to_phone),
            handled_by: Value::text_or_digits(raw.handled_by),
            start_time: Value::text(raw.start_time),
            end_time: Value::text(raw.end_time),
            recording_url: Value::text(raw.recording_url),
            department: Value::text_or_digits(raw.department),
        })
    }

    /// The required fields in the order of the published table.
    pub(super) fn required(&self) -> [(&'static str, &Value<'a>); 6] {
        [
            ("from_phone", &self.from_phone),
            ("to_phone", &self.to_phone),
            ("handled_by", &self.handled_by),
            ("start_time", &self.start_time),
            ("end_time", &self.end_time),
            ("recording_url", &self.recording_url),
        ]
    }
}

impl<'a> Value<'a> {
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    pub(super) fn into_sent(self, field: &'static str) -> Result<Sent<'a>, Invalid> {
        match self {
            Self::Sent(sent) => Ok(sent),
            Self::Missing | Self::NotText => Err(Invalid::FieldType { field }),
        }
    }

    fn text_or_digits(raw: Option<&'a RawValue>) -> Self {
        match raw.map(RawValue::get) {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Self::Sent(Sent::Text(digits.into()))
            }
            _ => Self::text(raw),
        }
    }

    fn text(raw: Option<&'a RawValue>) -> Self {
        let raw = match raw.map(RawValue::get) {
            None | Some("null") => return Self::Missing,
            Some(raw) => raw,
        };
        let Some(text) = unescaped(raw) else {
            // The parser of the body has read it already, so only half of a surrogate pair can be wrong with a string.
            return if raw.starts_with('"') { Self::Sent(Sent::HalfCharacter) } else { Self::NotText };
        };
        if text.chars().all(char::is_whitespace) { Self::Missing } else { Self::Sent(Sent::Text(text)) }
    }
}

/// The text of a JSON string; `None` for half of a surrogate pair, and for another value than a string.
fn unescaped(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// The values of the published fields as they were sent.
#[derive(Default)]
struct RawFields<'a> {
    from_phone: Option<&'a RawValue>,
    to_phone: Option<&'a RawValue>,
    handled_by: Option<&'a RawValue>,
    start_time: Option<&'a RawValue>,
    end_time: Option<&'a RawValue>,
    recording_url: Option<&'a RawValue>,
    department: Option<&'a RawValue>,
}

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Name {
    FromPhone,
    ToPhone,
    HandledBy,
    StartTime,
    EndTime,
    RecordingUrl,
    Department,
    #[serde(other)]
    Unknown,
}

/// A name as it was sent, with its quotes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct RawName<'a>(#[serde(borrow)] &'a RawValue);

impl From<RawName<'_>> for Name {
    fn from(RawName(raw): RawName<'_>) -> Self {
        serde_json::from_str(raw.get()).unwrap_or(Self::Unknown)
    }
}

impl<'a> RawFields<'a> {
    /// The fields of an object whose names are read as `N`. The last of two equal names counts, where a derived
    /// implementation refuses both.
    fn of<N: Deserialize<'a> + Into<Name>>(text: &'a str) -> serde_json::Result<Self> {
        struct Object<N>(PhantomData<N>);

        impl<'de, N: Deserialize<'de> + Into<Name>> Visitor<'de> for Object<N> {
            type Value = RawFields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields = RawFields::default();
                while let Some(name) = map.next_key::<N>()? {
                    let field = match name.into() {
                        Name::FromPhone => &mut fields.from_phone,
                        Name::ToPhone => &mut fields.to_phone,
                        Name::HandledBy => &mut fields.handled_by,
                        Name::StartTime => &mut fields.start_time,
                        Name::EndTime => &mut fields.end_time,
                        Name::RecordingUrl => &mut fields.recording_url,
                        Name::Department => &mut fields.department,
                        Name::Unknown => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *field = Some(map.next_value()?);
                }
                Ok(fields)
            }
        }

        let mut deserializer = serde_json::Deserializer::from_str(text);
        let fields = deserializer.deserialize_map(Object::<N>(PhantomData))?;
        deserializer.end()?;
        Ok(fields)
    }
}

/// Whether objects and arrays are nested deeper than allowed. Meaningless for a text that is not JSON.
fn is_too_deep(text: &str) -> bool {
    // Counted in a byte for each chunk of 255, which is many times faster than in one large number and can't overflow.
    let opens =
        |chunk: &[u8]| chunk.iter().fold(0_u8, |count, byte| count + u8::from(matches!(byte, b'{' | b'[')));
    if text.as_bytes().chunks(u8::MAX.into()).map(|chunk| usize::from(opens(chunk))).sum::<usize>()
        <= DEPTH_MAX
    {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.as_bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

/// Appends `,"name":"text"`.
pub(super) fn write_field(out: &mut Vec<u8>, name: &str, text: &str) {
    write_pieces_field(out, name, &[text]);
}

/// Appends `,"name":"text"` with a text that is given in pieces.
pub(super) fn write_pieces_field(out: &mut Vec<u8>, name: &str, pieces: &[&str]) {
    write_name(out, name);
    out.push(b'"');
    for piece in pieces {
        write_escaped(out, piece);
    }
    out.push(b'"');
}

/// Appends `,"name":"YYYY-MM-DD HH:MM:SS"`.
pub(super) fn write_time_field(out: &mut Vec<u8>, name: &str, time: NaiveDateTime) {
    write_name(out, name);
    out.push(b'"');
    write_time(out, time);
    out.push(b'"');
}

/// Appends `YYYY-MM-DD HH:MM:SS`. chrono's formatter would take longer than the rest of an answer.
pub(super) fn write_time(out: &mut Vec<u8>, time: NaiveDateTime) {
    write_digits(out, u32::try_from(time.year()).unwrap_or_default(), 4);
    for (separator, part) in [
        (b'-', time.month()),
        (b'-', time.day()),
        (b' ', time.hour()),
        (b':', time.minute()),
        (b':', time.second()),
    ] {
        out.push(separator);
        write_digits(out, part, 2);
    }
}

fn write_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends the inside of a JSON string. Slashes and characters beyond ASCII stay as they are.
fn write_escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    // Without stopping at the first one, so that the compiler can compare many bytes at once. There hardly ever is one.
    let mut is_special = false;
    for byte in rest {
        is_special |= matches!(byte, b'"' | b'\\' | 0..0x20);
    }
    if !is_special {
        return out.extend_from_slice(rest);
    }
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        if let Some((byte, after)) = special.split_first() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
                // Validation refuses these, but a row that another program wrote may have one.
                _ => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            }
            rest = after;
        }
    }
    out.extend_from_slice(rest);
}

/// Appends the last `width` decimal digits of a number.
fn write_digits(out: &mut Vec<u8>, number: u32, width: u32) {
    for place in (0..width).rev() {
        let digit = number / 10_u32.pow(place) % 10;
        out.push(b'0' + u8::try_from(digit).unwrap_or_default());
    }
}
