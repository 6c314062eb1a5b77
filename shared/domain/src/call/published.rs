//! The published validation a second time, as an oracle that knows which fields were put into a body. The parser must
//! agree with it on any mixture of good and bad fields.

use proptest::prelude::*;

use super::examples::{NO_TIMES, NO_URLS, TIMES, URLS};
use super::*;

/// The value that is sent for a field.
#[derive(Clone, Debug)]
enum Sent {
    Absent,
    Null,
    Text(String),
    /// A JSON integer of digits alone.
    Digits(String),
    /// A string with half of a surrogate pair, as it is written between its quotes.
    Half(&'static str),
    /// Another JSON value, as it is written.
    Other(&'static str),
}

/// The fields in the published order, with the optional one last.
const FIELDS: [&str; 7] =
    ["from_phone", "to_phone", "handled_by", "start_time", "end_time", "recording_url", "department"];
/// The fields in which digits alone count as their string.
const DIGITS_GO: [&str; 4] = ["from_phone", "to_phone", "handled_by", "department"];
fn number_of_chars(least: usize, most: usize) -> impl Strategy<Value = Sent> {
    (least..=most, prop::sample::select(vec!['a', '0', 'é', '名', '\u{1F4DE}', '"', '\\', '/']))
        .prop_map(|(count, char)| Sent::Text(std::iter::repeat_n(char, count).collect()))
}

fn odd() -> impl Strategy<Value = Sent> {
    prop_oneof![
        Just(Sent::Absent),
        Just(Sent::Null),
        prop::sample::select(vec!["", " ", "\t\r\n", "\u{a0}\u{2003}"])
            .prop_map(|text| Sent::Text(text.into())),
        "[0-9]".prop_map(Sent::Digits),
        "[1-9][0-9]{1,70}|[1-9][0-9]{252,257}".prop_map(Sent::Digits),
        prop::sample::select(vec!["-1", "1.0", "1e3", "true", "[]", "{\"a\":[1]}", "[\"x\"]"])
            .prop_map(Sent::Other),
        prop::sample::select(vec![r"\ud83d", r"\udcde x", r"x\ud83d\n"]).prop_map(Sent::Half),
        prop::sample::select(vec!["a\u{0}b", "\u{1f}", "x\u{7f}", "\u{9f}y", "a\nb"])
            .prop_map(|text| Sent::Text(text.into())),
        number_of_chars(250, 260),
        number_of_chars(8185, 8200),
    ]
}

fn value(field: &'static str) -> impl Strategy<Value = Sent> {
    let pick = |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        prop::sample::select(texts).prop_map(Sent::Text).boxed()
    };
    let (good, bad) = match field {
        "start_time" | "end_time" => (pick(&TIMES), pick(&NO_TIMES)),
        "recording_url" => (pick(&URLS), pick(&NO_URLS)),
        _ => ("[^\\p{C}\\s]{1,40}".prop_map(Sent::Text).boxed(), number_of_chars(253, 258).boxed()),
    };
    // Most fields of most bodies are good, or the later checks would never be reached.
    prop_oneof![20 => good, 1 => bad, 1 => odd()]
}

fn bodies() -> impl Strategy<Value = Vec<(&'static str, Sent)>> {
    FIELDS.map(|field| value(field).prop_map(move |sent| (field, sent))).prop_map(Vec::from)
}

/// Stands for a text with half of a surrogate pair, which no Rust string can hold.
const HALF: &str = "half";

/// The text of a field; `None` where it counts as missing, an error where it is no text.
fn text_of(field: &'static str, sent: &Sent) -> Result<Option<String>, Invalid> {
    match sent {
        Sent::Text(text) if text.trim().is_empty() => Ok(None),
        Sent::Text(text) => Ok(Some(text.clone())),
        Sent::Digits(digits) if DIGITS_GO.contains(&field) => Ok(Some(digits.clone())),
        Sent::Half(_) => Ok(Some(HALF.to_owned())),
        Sent::Digits(_) | Sent::Other(_) => Err(Invalid::FieldType { field }),
        Sent::Absent | Sent::Null => Ok(None),
    }
}

/// The result that the published page demands for a body.
fn expected(body: &[(&'static str, Sent)]) -> Result<Vec<Option<String>>, Invalid> {
    let texts: Vec<_> = body.iter().map(|(field, sent)| (*field, text_of(field, sent))).collect();
    let is_missing =
        |(field, text): &(&'static str, _)| (*field != "department" && *text == Ok(None)).then_some(*field);
    let missing: Vec<_> = texts.iter().filter_map(is_missing).collect();
    if !missing.is_empty() {
        return Err(Invalid::MissingFields(missing));
    }
    let texts: Vec<_> =
        texts.into_iter().map(|(field, text)| Ok((field, text?))).collect::<Result<_, Invalid>>()?;
    for (field, text) in &texts {
        if text.as_deref() == Some(HALF) {
            return Err(Invalid::FieldValue { field, fault: TextFault::HalfCharacter });
        }
        let max_chars = match *field {
            "from_phone" | "to_phone" | "handled_by" | "department" => 255,
            "recording_url" => 8192,
            _ => continue,
        };
        let text = text.as_deref().unwrap_or_default();
        let is_control = |char| matches!(char, '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}');
        let fault = if text.chars().count() > max_chars {
            TextFault::TooLong { max_chars }
        } else if text.contains(is_control) {
            TextFault::ControlCharacter
        } else {
            continue;
        };
        return Err(Invalid::FieldValue { field, fault });
    }
    let text = |field| texts.iter().find(|(name, _)| *name == field).and_then(|(_, text)| text.as_deref());
    let place = |field| TIMES.iter().position(|time| Some(*time) == text(field));
    let start = place("start_time").ok_or(Invalid::TimeFormat { field: "start_time" })?;
    let end = place("end_time").ok_or(Invalid::TimeFormat { field: "end_time" })?;
    if end <= start {
        return Err(Invalid::TimeRange);
    }
    if !URLS.iter().any(|url| Some(*url) == text("recording_url")) {
        return Err(Invalid::RecordingUrl);
    }
    Ok(texts.into_iter().map(|(_, text)| text).collect())
}

fn json_of(sent: &Sent) -> Option<String> {
    match sent {
        Sent::Absent => None,
        Sent::Null => Some("null".to_owned()),
        Sent::Text(text) => Some(serde_json::to_string(text).unwrap()),
        Sent::Digits(digits) => Some(digits.clone()),
        Sent::Half(text) => Some(format!("\"{text}\"")),
        Sent::Other(json) => Some((*json).to_owned()),
    }
}

/// The body, with its fields in the order of `rank`, and with a byte order mark, white space and `noise` that must change
/// nothing.
fn written(body: &[(&'static str, Sent)], rank: &[u8], noise: &str) -> String {
    let mut fields: Vec<_> = body.iter().zip(rank).collect();
    fields.sort_by_key(|(_, rank)| **rank);
    let mut members: Vec<String> = Vec::new();
    for ((field, sent), _) in fields {
        if let Some(json) = json_of(sent) {
            // The last of two equal names counts.
            members.push(format!("\"{field}\" : {noise}"));
            members.push(format!("\"{field}\":{json}"));
        }
    }
    members.push(format!("\"unknown\":{noise}"));
    format!("\u{feff} {{{}}}\n", members.join(" ,"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn exactly_what_the_page_says_is_accepted(
        body in bodies(),
        rank in prop::collection::vec(any::<u8>(), 7),
        noise in prop::sample::select(vec!["1", "null", "\"x\"", "{\"from_phone\":[2]}", "[[]]", r#""\ud83d""#]),
    ) {
        let parsed = NewCall::parse(written(&body, &rank, noise).as_bytes());
        let told = parsed.map(|call| {
            let time = |time: NaiveDateTime| Some(time.format("%Y-%m-%d %H:%M:%S").to_string());
            let texts = [call.from_phone, call.to_phone, call.handled_by].map(Some);
            let rest = [time(call.start_time), time(call.end_time), Some(call.recording_url), call.department];
            texts.into_iter().chain(rest).collect::<Vec<_>>()
        });
        prop_assert_eq!(told, expected(&body));
    }
}
