//! Properties of every call, not only of the examples.

use proptest::prelude::*;
use serde_json::Value as Json;

use super::tests::{parse, with};
use super::*;

proptest! {
    #[test]
    fn any_body_is_parsed_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(NewCall::parse(&body).is_err());
    }

    #[test]
    fn what_goes_in_comes_out(
        from in "[^\\p{C}\\s]{1,40}",
        agent in "\\PC{0,200}[a\"\\\\/é☎]",
        path in "[a-z\"\\\\/é☎%@]{0,50}",
    ) {
        let mut sent = with("from_phone", from.as_str());
        sent["handled_by"] = agent.as_str().into();
        sent["recording_url"] = format!("http://h/{path}").into();
        sent["department"] = Json::Null;
        let call = Call { id: CallId(1), call: parse(&sent).unwrap().into(), created_at: DateTime::UNIX_EPOCH, env: Environment::Live };
        let mut out = Vec::new();
        call.write_json(RecordingUrl::AsSent, &mut out);
        let answered: Json = serde_json::from_slice(&out).unwrap();
        for (field, value) in sent.as_object().unwrap() {
            prop_assert_eq!(&answered[field], value);
        }
        let title = format!(
            "Call from {} to {} (handled by {})",
            call.call.from_phone, call.call.to_phone, call.call.handled_by
        );
        prop_assert_eq!(answered["title"].as_str().unwrap(), title);
    }

    #[test]
    fn every_second_reads_back(seconds in 0_i64..253_402_300_800) {
        let time = DateTime::from_timestamp(seconds, 0).unwrap().naive_utc();
        let text = time.format("%Y-%m-%d %H:%M:%S").to_string();
        prop_assert_eq!(parse_time(&text), Some(time));
        let mut out = Vec::new();
        json::write_time_field(&mut out, "t", time);
        prop_assert_eq!(String::from_utf8(out).unwrap(), format!(",\"t\":\"{text}\""));
    }

    #[test]
    fn only_what_formats_to_itself_is_a_time(text in "[0-9 :T+-]{17,20}|[12][09][0-9]{2}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-6][0-9]:[0-6][0-9]") {
        if let Some(time) = parse_time(&text) {
            prop_assert_eq!(time.format("%Y-%m-%d %H:%M:%S").to_string(), text);
        }
    }

    #[test]
    fn the_parser_and_the_splitter_agree_on_user_info(
        url in "https?://[a-z:@%]{0,6}(@|)[a-z.]{1,6}(:8|)[/\\\\?#]{0,2}[a-z@:/]{0,6}",
    ) {
        if recording_url::is_recording_url(&url) {
            let stripped = without_userinfo(&url);
            let (full, bare) = (::url::Url::parse(&url).unwrap(), ::url::Url::parse(&stripped).unwrap());
            prop_assert_eq!(full.host_str(), bare.host_str());
            prop_assert_eq!(full.path(), bare.path());
            prop_assert!(bare.username().is_empty() && bare.password().is_none());
            prop_assert!(recording_url::is_recording_url(&stripped));
        }
    }
}
