//! A challenge is answered or left, without a panic, within bounds, and never with the password itself.
#![no_main]

use callvine_worker::recording::fetch::fuzzing::answer_to;
use libfuzzer_sys::fuzz_target;

const URL: &str = "https://user%22name:pass%5Cphrase@example.com/a/call.wav?b=%22c%22";
const PASSWORD: &[u8] = b"pass\\phrase";

/// The challenges that are looked at, twice for their quotes, and the rest of the header.
const ANSWER_BYTES_MAX: usize = 2 * 8 * 1024 + 1024;

fuzz_target!(|bytes: &[u8]| {
    // Each line is a header of the host's answer.
    let challenges: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let Some(answer) = answer_to(&challenges, URL) else { return };
    assert!(answer.starts_with(b"Digest "));
    assert!(answer.len() <= ANSWER_BYTES_MAX, "{} bytes", answer.len());
    let holds = |text: &[u8]| text.windows(PASSWORD.len()).any(|part| part == PASSWORD);
    // A host that sends the password knows it.
    assert!(!holds(&answer) || holds(bytes));
});
