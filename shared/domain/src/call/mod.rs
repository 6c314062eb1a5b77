//! A call as a provider sends it, and as Callvine answers it: the published validation, in its order, and the
//! published JSON. Pure: no clock, no I/O.

mod json;
mod recording_url;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

use self::json::{Fields, Sent, Value};
pub use self::recording_url::{userinfo, without_userinfo};
use crate::api_key::Environment;

/// Most characters of `from_phone`, `to_phone`, `handled_by` and `department`. A SIP address with a host's name in it
/// fits.
const TEXT_MAX_CHARS: usize = 255;

/// Most characters of `recording_url`. A URL that is signed with a role's token has two to four thousand.
const RECORDING_URL_MAX_CHARS: usize = 8192;

/// The number of a stored call: positive and below 2^53, so that a JavaScript number holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub i64);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A valid call that is not stored yet. Its strings are as they were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCall {
    /// The caller's number.
    pub from_phone: String,
    /// The number that was called.
    pub to_phone: String,
    /// The agent who handled the call.
    pub handled_by: String,
    /// The agent's department, never blank.
    pub department: Option<String>,
    /// When the call began, in the provider's own time.
    pub start_time: NaiveDateTime,
    /// When it ended; after `start_time`.
    pub end_time: NaiveDateTime,
    /// The recording's URL: `http` or `https`, perhaps with a user name and password.
    pub recording_url: String,
}

impl NewCall {
    /// Reads the body of a webhook request. The first check that fails, in the published order, is the one reported.
    ///
    /// # Errors
    /// [`Invalid`]: the fault that the provider has to mend.
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        let fields = Fields::parse(body)?;
        let missing: Vec<_> = fields
            .required()
            .into_iter()
            .filter_map(|(field, value)| value.is_missing().then_some(field))
            .collect();
        if !missing.is_empty() {
            return Err(Invalid::MissingFields(missing));
        }

        let from_phone = fields.from_phone.into_sent("from_phone")?;
        let to_phone = fields.to_phone.into_sent("to_phone")?;
        let handled_by = fields.handled_by.into_sent("handled_by")?;
        let start_time = fields.start_time.into_sent("start_time")?;
        let end_time = fields.end_time.into_sent("end_time")?;
        let recording_url = fields.recording_url.into_sent("recording_url")?;
        let department = match fields.department {
            Value::Missing => None,
            sent => Some(sent.into_sent("department")?),
        };

        let from_phone = checked("from_phone", from_phone, TEXT_MAX_CHARS)?;
        let to_phone = checked("to_phone", to_phone, TEXT_MAX_CHARS)?;
        let handled_by = checked("handled_by", handled_by, TEXT_MAX_CHARS)?;
        let start_time = characters("start_time", start_time)?;
        let end_time = characters("end_time", end_time)?;
        let recording_url = checked("recording_url", recording_url, RECORDING_URL_MAX_CHARS)?;
        let department = department.map(|sent| checked("department", sent, TEXT_MAX_CHARS)).transpose()?;

        let start_time = parse_time(&start_time).ok_or(Invalid::TimeFormat { field: "start_time" })?;
        let end_time = parse_time(&end_time).ok_or(Invalid::TimeFormat { field: "end_time" })?;
        if end_time <= start_time {
            return Err(Invalid::TimeRange);
        }
        if !recording_url::is_recording_url(&recording_url) {
            return Err(Invalid::RecordingUrl);
        }
        Ok(Self {
            from_phone: from_phone.into_owned(),
            to_phone: to_phone.into_owned(),
            handled_by: handled_by.into_owned(),
            department: department.map(Cow::into_owned),
            start_time,
            end_time,
            recording_url: recording_url.into_owned(),
        })
    }
}

/// `YYYY-MM-DD HH:MM:SS`.
#[must_use]
pub fn time_text(time: NaiveDateTime) -> String {
    let mut text = Vec::with_capacity(19);
    json::write_time(&mut text, time);
    // Digits and separators.
    String::from_utf8(text).unwrap_or_default()
}

/// Why a body is not a call. `Display` is the published message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not one JSON object in UTF-8, or nested too deep.
    #[error("Request body must be valid JSON")]
    Json,
    /// These required fields are absent, null or blank; in the published order.
    #[error("The following fields are required: {}", .0.join(", "))]
    MissingFields(Vec<&'static str>),
    /// A field is neither a string nor an integer that counts as one.
    #[error("{field} must be a string")]
    FieldType {
        /// Its name.
        field: &'static str,
    },
    /// A field's text can't be stored.
    #[error("{field} {fault}")]
    FieldValue {
        /// Its name.
        field: &'static str,
        /// The fault of its text.
        fault: TextFault,
    },
    /// A time is not exactly `YYYY-MM-DD HH:MM:SS`, or does not exist.
    #[error("{field} must be in YYYY-MM-DD HH:MM:SS format")]
    TimeFormat {
        /// Its name.
        field: &'static str,
    },
    /// The call does not end after it starts.
    #[error("end_time must be after start_time")]
    TimeRange,
    /// The recording's URL is not an absolute `http` or `https` URL with a host.
    #[error("recording_url must be a valid URL")]
    RecordingUrl,
}

/// The fault of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFault {
    /// It has more characters than this.
    TooLong {
        /// Unicode scalar values.
        max_chars: usize,
    },
    /// It has a control character: U+0000 to U+001F, or U+007F to U+009F. PostgreSQL can't store the first of them.
    ControlCharacter,
    /// It has half of a surrogate pair, `\ud83d` alone, as a sender writes it who cuts a text within an emoji. JSON allows
    /// that, and it is no character.
    HalfCharacter,
}

impl fmt::Display for TextFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { max_chars } => write!(f, "must have at most {max_chars} characters"),
            Self::ControlCharacter => f.write_str("must not contain control characters"),
            Self::HalfCharacter => f.write_str("must not contain half of a surrogate pair"),
        }
    }
}

/// The text of a field, if it consists of characters.
fn characters<'a>(field: &'static str, sent: Sent<'a>) -> Result<Cow<'a, str>, Invalid> {
    match sent {
        Sent::Text(text) => Ok(text),
        Sent::HalfCharacter => Err(Invalid::FieldValue { field, fault: TextFault::HalfCharacter }),
    }
}

/// The text of a field, if it can be stored.
fn checked<'a>(field: &'static str, sent: Sent<'a>, max_chars: usize) -> Result<Cow<'a, str>, Invalid> {
    let text = characters(field, sent)?;
    // A text never has more characters than bytes, so most need no count.
    let fault = if text.len() > max_chars && text.chars().count() > max_chars {
        TextFault::TooLong { max_chars }
    } else if has_control_character(&text) {
        TextFault::ControlCharacter
    } else {
        return Ok(text);
    };
    Err(Invalid::FieldValue { field, fault })
}

fn has_control_character(text: &str) -> bool {
    if text.is_ascii() {
        // Without stopping at the first one, which is many times faster than a branch for each byte.
        text.bytes().fold(false, |has, byte| has | byte.is_ascii_control())
    } else {
        text.chars().any(char::is_control)
    }
}

/// Reads exactly `YYYY-MM-DD HH:MM:SS`. chrono's parser accepts one-digit months, signs, odd spaces and leap seconds too.
fn parse_time(text: &str) -> Option<NaiveDateTime> {
    let bytes: &[u8; 19] = text.as_bytes().try_into().ok()?;
    let [y0, y1, y2, y3, b'-', mo0, mo1, b'-', d0, d1, b' ', h0, h1, b':', mi0, mi1, b':', s0, s1] = *bytes
    else {
        return None;
    };
    let year = number(&[y0, y1, y2, y3])?;
    if year < 1970 {
        return None;
    }
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, number(&[mo0, mo1])?, number(&[d0, d1])?)?.and_hms_opt(
        number(&[h0, h1])?,
        number(&[mi0, mi1])?,
        number(&[s0, s1])?,
    )
}

/// The value of at most nine ASCII digits.
fn number(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + u32::from(digit - b'0')))
}

/// A stored call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its number.
    pub id: CallId,
    /// The call as it was sent. Read back from the database, its `recording_url` has no user name and password.
    pub call: Arc<NewCall>,
    /// When it was received; whole seconds.
    pub created_at: DateTime<Utc>,
    /// The environment of the key that it was sent with.
    pub env: Environment,
}

/// How a recording's URL is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingUrl {
    /// With user name and password, for the provider who sent them.
    AsSent,
    /// Without them, for everybody else.
    WithoutUserinfo,
}

impl Call {
    /// Appends the call as the `data` object of the published 201 answer.
    pub fn write_json(&self, url: RecordingUrl, out: &mut Vec<u8>) {
        out.push(b'{');
        self.write_json_fields(url, out);
        out.push(b'}');
    }

    /// Appends the fields of that object without its braces, so that the caller can add more.
    pub fn write_json_fields(&self, url: RecordingUrl, out: &mut Vec<u8>) {
        let NewCall { from_phone, to_phone, handled_by, department, start_time, end_time, recording_url } =
            &*self.call;
        out.extend_from_slice(b"\"id\":");
        out.extend_from_slice(self.id.0.to_string().as_bytes());
        json::write_field(out, "from_phone", from_phone);
        json::write_field(out, "to_phone", to_phone);
        json::write_field(out, "handled_by", handled_by);
        match department {
            Some(department) => json::write_field(out, "department", department),
            None => out.extend_from_slice(b",\"department\":null"),
        }
        json::write_time_field(out, "start_time", *start_time);
        json::write_time_field(out, "end_time", *end_time);
        match url {
            RecordingUrl::AsSent => json::write_field(out, "recording_url", recording_url),
            RecordingUrl::WithoutUserinfo => {
                json::write_field(out, "recording_url", &without_userinfo(recording_url));
            }
        }
        let title = ["Call from ", from_phone, " to ", to_phone, " (handled by ", handled_by, ")"];
        json::write_pieces_field(out, "title", &title);
        json::write_time_field(out, "created_at", self.created_at.naive_utc());
    }
}

#[cfg(test)]
mod examples;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod published;
#[cfg(test)]
mod tests;
