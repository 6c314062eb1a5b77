//! A message of a queue is one of ours or refused, and one of ours leads to the call that it was made for.
#![no_main]

use std::sync::Arc;

use callvine_domain::api_key::Environment;
use callvine_domain::call::{Call, CallId, NewCall};
use callvine_domain::event::{Events, call_id_of};
use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use uuid::Uuid;

fuzz_target!(|body: &[u8]| {
    if let Err(refused) = call_id_of(body) {
        assert!(!refused.to_string().is_empty());
    }
    // The same bytes as a call: its event leads back to it, whatever its fields hold.
    let Ok(call) = NewCall::parse(body) else { return };
    let id = CallId(i64::try_from(body.len()).expect("it is short"));
    let call = Call { id, call: Arc::new(call), created_at: DateTime::UNIX_EPOCH, env: Environment::Live };
    let event = Events::new(Uuid::nil()).call_created(&call);
    assert_eq!(call_id_of(event.body.as_bytes()).expect("it is one of ours"), id);
    serde_json::from_str::<serde_json::Value>(&event.body).expect("it is JSON");
});
