//! The body of a webhook is parsed or refused. An accepted call comes back in the answer as it was sent, and that answer is
//! accepted again as the same call.
#![no_main]

use std::sync::Arc;

use callvine_domain::api_key::Environment;
use callvine_domain::call::{Call, CallId, NewCall, RecordingUrl, without_userinfo};
use chrono::DateTime;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let call = match NewCall::parse(body) {
        Ok(call) => call,
        Err(invalid) => {
            assert!(!invalid.to_string().is_empty());
            return;
        }
    };
    assert!(call.end_time > call.start_time);
    for (text, most) in [(&call.from_phone, 255), (&call.to_phone, 255), (&call.handled_by, 255)] {
        assert!(!text.trim().is_empty() && text.chars().count() <= most && !text.contains(char::is_control));
    }
    let answered = Call { id: CallId(1), call: Arc::new(call), created_at: DateTime::UNIX_EPOCH, env: Environment::Live };
    let mut json = Vec::new();
    answered.write_json(RecordingUrl::AsSent, &mut json);
    assert_eq!(NewCall::parse(&json).as_ref(), Ok(&*answered.call));
    json.clear();
    answered.write_json(RecordingUrl::WithoutUserinfo, &mut json);
    let public = NewCall::parse(&json).expect("it is a call without user name and password too");
    assert_eq!(public.recording_url, without_userinfo(&answered.call.recording_url));
    assert_eq!(without_userinfo(&public.recording_url), public.recording_url);
});
