//! The published validation by example.

use serde_json::{Value as Json, json};

use super::examples::{NO_TIMES, TIMES};
use super::*;

fn published() -> Json {
    json!({
        "from_phone": "9087270291",
        "to_phone": "8006000009",
        "handled_by": "Agent Smith",
        "department": "Customer Service",
        "start_time": "2024-01-15 09:00:00",
        "end_time": "2024-01-15 09:15:00",
        "recording_url": "https://example.com/recordings/call123.wav",
    })
}

/// The published example with one field replaced.
pub(super) fn with(field: &str, value: impl Into<Json>) -> Json {
    let mut call = published();
    call[field] = value.into();
    call
}

pub(super) fn parse(body: &Json) -> Result<NewCall, Invalid> {
    NewCall::parse(body.to_string().as_bytes())
}

/// The published example with one field's JSON as raw text, which need not be JSON.
fn parse_raw(field: &str, raw: &str) -> Result<NewCall, Invalid> {
    let body = with(field, "@@").to_string().replace("\"@@\"", raw);
    NewCall::parse(body.as_bytes())
}

fn time(text: &str) -> NaiveDateTime {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap()
}

#[test]
fn the_published_example_is_valid() {
    let call = parse(&published()).unwrap();
    assert_eq!(call.from_phone, "9087270291");
    assert_eq!(call.to_phone, "8006000009");
    assert_eq!(call.handled_by, "Agent Smith");
    assert_eq!(call.department.as_deref(), Some("Customer Service"));
    assert_eq!(call.start_time, time("2024-01-15 09:00:00"));
    assert_eq!(call.end_time, time("2024-01-15 09:15:00"));
    assert_eq!(call.recording_url, "https://example.com/recordings/call123.wav");
}

#[test]
fn what_is_not_one_json_object_in_utf8_is_invalid_json() {
    for body in [
        "",
        " ",
        "{",
        "[]",
        "null",
        "\"{}\"",
        "1",
        "{}x",
        "{}{}",
        "{'a':1}",
        "{a:1}",
        "from_phone=1&to_phone=2",
        "{\"a\":1,}",
        "\u{feff}\u{feff}{}",
    ] {
        assert_eq!(NewCall::parse(body.as_bytes()), Err(Invalid::Json), "{body}");
    }
    let good = published().to_string();
    assert_eq!(NewCall::parse(format!("{good}x").as_bytes()), Err(Invalid::Json));
    assert_eq!(NewCall::parse(&[good.as_bytes(), b"\xff"].concat()), Err(Invalid::Json));
    assert_eq!(NewCall::parse(format!("\u{feff}\u{feff}{good}").as_bytes()), Err(Invalid::Json));
    assert_eq!(NewCall::parse(b"{\"from_phone\":\"\xff\"}"), Err(Invalid::Json));
    assert_eq!(NewCall::parse(b"{\"other\":\"\xff\"}"), Err(Invalid::Json));
    for raw in ["007", "+1", "0x1", "1.", "NaN", "'1'", "\"\\x\"", "\"a\nb\"", "\"\u{1}\"", "tru"] {
        assert_eq!(parse_raw("from_phone", raw), Err(Invalid::Json), "{raw}");
    }
}

#[test]
fn one_byte_order_mark_and_white_space_around_the_object_are_skipped() {
    for body in [format!("\u{feff}{}", published()), format!(" \n{}\t", published())] {
        assert!(NewCall::parse(body.as_bytes()).is_ok(), "{body}");
    }
}

#[test]
fn unknown_fields_are_skipped_and_the_last_of_a_name_counts() {
    let body =
        published().to_string().replacen('{', r#"{"x":[1e999,{"from_phone":{}}],"from_phone":7.5,"#, 1);
    assert_eq!(NewCall::parse(body.as_bytes()).unwrap().from_phone, "9087270291");
    let body = published().to_string().replacen("from_phone", "from\\u005fphone", 1);
    assert_eq!(NewCall::parse(body.as_bytes()).unwrap().from_phone, "9087270291");
    let body = published().to_string().replacen('}', r#","department":null}"#, 1);
    assert_eq!(NewCall::parse(body.as_bytes()).unwrap().department, None);
}

#[test]
fn nesting_ends_at_128() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(parse(&with("other", "x")).is_ok());
    let parse_nested = |field, levels: usize| parse_raw(field, &nested(levels));
    assert!(parse_nested("other", 127).is_ok());
    assert_eq!(parse_nested("other", 128), Err(Invalid::Json));
    assert_eq!(parse_nested("department", 127), Err(Invalid::FieldType { field: "department" }));
    assert_eq!(parse_nested("department", 128), Err(Invalid::Json));
    assert_eq!(parse_nested("other", 20_000), Err(Invalid::Json));
    // Brackets in strings and beside each other are no nesting.
    let brackets = format!("\\\"{}", "[{".repeat(100));
    assert!(parse_raw("other", &format!("\"{brackets}\"")).is_ok());
    assert!(parse_raw("other", &format!("[{}[]]", "[],".repeat(300))).is_ok());
}

#[test]
fn missing_fields_are_named_in_published_order() {
    let all = vec!["from_phone", "to_phone", "handled_by", "start_time", "end_time", "recording_url"];
    for body in ["{}", r#"{"recording_url":"","end_time":"\u00a0","unknown":1}"#] {
        assert_eq!(NewCall::parse(body.as_bytes()), Err(Invalid::MissingFields(all.clone())), "{body}");
    }
    let mut call = published();
    call["recording_url"] = "".into();
    call["handled_by"] = " \t\u{a0}\u{3000}\u{85}\n".into();
    call["from_phone"] = Json::Null;
    // Named before any field's type is judged.
    call["start_time"] = true.into();
    let invalid = parse(&call).unwrap_err();
    assert_eq!(invalid, Invalid::MissingFields(vec!["from_phone", "handled_by", "recording_url"]));
    assert_eq!(
        invalid.to_string(),
        "The following fields are required: from_phone, handled_by, recording_url"
    );
    assert_eq!(parse(&with("from_phone", "0")).unwrap().from_phone, "0");
    assert_eq!(parse(&with("handled_by", "0")).unwrap().handled_by, "0");
}

#[test]
fn an_absent_or_blank_department_is_none() {
    for department in [Json::Null, "".into(), " \t\u{3000}\u{2003}".into(), " ".repeat(300).into()] {
        assert_eq!(parse(&with("department", department)).unwrap().department, None);
    }
    let mut call = published();
    call.as_object_mut().unwrap().remove("department");
    assert_eq!(parse(&call).unwrap().department, None);
}

#[test]
fn digits_alone_count_as_their_string_however_many() {
    for digits in ["0", "9087270291"] {
        let call = |field| parse_raw(field, digits).unwrap();
        assert_eq!(call("from_phone").from_phone, digits);
        assert_eq!(call("to_phone").to_phone, digits);
        assert_eq!(call("handled_by").handled_by, digits);
        assert_eq!(call("department").department.as_deref(), Some(digits));
    }
    let many = "90872702910000000000000000001";
    assert_eq!(parse_raw("from_phone", many).unwrap().from_phone, many);
    let fault = TextFault::TooLong { max_chars: 255 };
    assert_eq!(
        parse_raw("to_phone", &"1".repeat(256)),
        Err(Invalid::FieldValue { field: "to_phone", fault })
    );
    for field in ["start_time", "end_time", "recording_url"] {
        assert_eq!(parse_raw(field, "20240115"), Err(Invalid::FieldType { field }));
    }
}

#[test]
fn other_types_are_refused_in_published_order() {
    for raw in ["-1", "1.0", "1e5", "1E5", "-0", "true", "false", "[]", "{}", "[\"1\"]"] {
        for field in
            ["from_phone", "to_phone", "handled_by", "start_time", "end_time", "recording_url", "department"]
        {
            assert_eq!(parse_raw(field, raw), Err(Invalid::FieldType { field }), "{raw}");
        }
    }
    let mut call = with("department", true);
    call["end_time"] = 1.into();
    call["from_phone"] = "x".repeat(256).into();
    assert_eq!(parse(&call), Err(Invalid::FieldType { field: "end_time" }));
}

#[test]
fn lengths_are_counted_in_characters() {
    for (field, max_chars) in [
        ("from_phone", 255),
        ("to_phone", 255),
        ("handled_by", 255),
        ("department", 255),
        ("recording_url", 8192),
    ] {
        let begin = if field == "recording_url" { "http://é.example/" } else { "" };
        let text = |chars: usize| format!("{begin}{}", "é".repeat(chars - begin.chars().count()));
        assert!(parse(&with(field, text(max_chars))).is_ok(), "{field}");
        let fault = TextFault::TooLong { max_chars };
        assert_eq!(parse(&with(field, text(max_chars + 1))), Err(Invalid::FieldValue { field, fault }));
    }
}

#[test]
fn half_of_a_surrogate_pair_is_refused_in_published_fields_and_ignored_in_others() {
    let fields =
        ["from_phone", "to_phone", "handled_by", "start_time", "end_time", "recording_url", "department"];
    for field in fields {
        let fault = TextFault::HalfCharacter;
        for text in
            ["\\ud83d", "Agent \\ud83d", "\\udcde Agent", "\\ud83d\\ud83d", "\\uD83D\\n", "\\udcde\\ud83d"]
        {
            let refused = parse_raw(field, &format!("\"{text}\""));
            assert_eq!(refused, Err(Invalid::FieldValue { field, fault }), "{field}: {text}");
        }
    }
    assert_eq!(parse_raw("handled_by", "\"Agent \\ud83d\\udcde\"").unwrap().handled_by, "Agent \u{1F4DE}");
    for body in [
        published().to_string().replacen('{', r#"{"note":"\ud83d","#, 1),
        published().to_string().replacen('{', r#"{"note\ud83d":1,"#, 1),
        published().to_string().replacen('{', r#"{"more":[{"\udcde":"\ud83d"}],"#, 1),
        // The last of a name counts.
        published().to_string().replacen('{', r#"{"handled_by":"\ud83d","#, 1),
    ] {
        assert!(NewCall::parse(body.as_bytes()).is_ok(), "{body}");
    }
    // Types go before, the format of times comes after.
    let mut body = with("to_phone", "@@");
    body["start_time"] = "soon".into();
    let body = |to_phone: &str| body.to_string().replace("\"@@\"", to_phone);
    let parse = |body: String| NewCall::parse(body.as_bytes()).unwrap_err();
    assert_eq!(parse(body("true")), Invalid::FieldType { field: "to_phone" });
    assert!(matches!(parse(body("\"\\ud83d\"")), Invalid::FieldValue { field: "to_phone", .. }));
}

#[test]
fn control_characters_are_refused() {
    for field in ["from_phone", "to_phone", "handled_by", "department", "recording_url"] {
        for control in ['\0', '\n', '\u{1f}', '\u{7f}', '\u{80}', '\u{9f}'] {
            let fault = TextFault::ControlCharacter;
            let value = format!("http://x/{control}");
            assert_eq!(parse(&with(field, value)), Err(Invalid::FieldValue { field, fault }), "{control:?}");
        }
    }
    assert!(parse(&with("handled_by", "\u{a0}\u{200b}\u{feff}☎")).is_ok());
}

#[test]
fn times_are_exactly_the_published_format_and_exist() {
    for text in NO_TIMES {
        for field in ["start_time", "end_time"] {
            assert_eq!(parse(&with(field, text)), Err(Invalid::TimeFormat { field }), "{text}");
        }
    }
    for (start, end) in TIMES.into_iter().zip(TIMES.into_iter().skip(1)) {
        let mut call = with("start_time", start);
        call["end_time"] = end.into();
        assert!(parse(&call).is_ok(), "{start} to {end}");
    }
}

#[test]
fn faults_are_reported_in_published_order() {
    let mut call = with("start_time", "x");
    call["end_time"] = "x".into();
    call["recording_url"] = "x".into();
    assert_eq!(parse(&call), Err(Invalid::TimeFormat { field: "start_time" }));
    call["start_time"] = "2024-01-15 09:00:00".into();
    assert_eq!(parse(&call), Err(Invalid::TimeFormat { field: "end_time" }));
    call["end_time"] = "2024-01-15 09:00:00".into();
    assert_eq!(parse(&call), Err(Invalid::TimeRange));
    call["end_time"] = "2024-01-15 08:59:59".into();
    assert_eq!(parse(&call), Err(Invalid::TimeRange));
    call["end_time"] = "2024-01-15 09:00:01".into();
    assert_eq!(parse(&call), Err(Invalid::RecordingUrl));
    call["recording_url"] = "http://x".into();
    assert!(parse(&call).is_ok());
}

fn call(recording_url: &str) -> Call {
    let call = parse(&with("recording_url", recording_url)).unwrap();
    Call {
        id: CallId(123),
        call: call.into(),
        created_at: time("2024-01-15 10:30:00").and_utc(),
        env: Environment::Live,
    }
}

#[test]
fn the_json_is_the_published_one() {
    let mut out = Vec::new();
    call("https://example.com/recordings/call123.wav").write_json(RecordingUrl::AsSent, &mut out);
    let expected = concat!(
        r#"{"id":123,"from_phone":"9087270291","to_phone":"8006000009","handled_by":"Agent Smith","#,
        r#""department":"Customer Service","start_time":"2024-01-15 09:00:00","end_time":"2024-01-15 09:15:00","#,
        r#""recording_url":"https://example.com/recordings/call123.wav","#,
        r#""title":"Call from 9087270291 to 8006000009 (handled by Agent Smith)","created_at":"2024-01-15 10:30:00"}"#,
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn the_json_hides_user_info_where_it_should() {
    let json = |url| {
        let mut out = Vec::new();
        call("http://u:p@h/x").write_json(url, &mut out);
        serde_json::from_slice::<Json>(&out).unwrap()
    };
    assert_eq!(json(RecordingUrl::AsSent)["recording_url"], "http://u:p@h/x");
    assert_eq!(json(RecordingUrl::WithoutUserinfo)["recording_url"], "http://h/x");
}
