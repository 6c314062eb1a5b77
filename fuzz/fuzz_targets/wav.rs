//! A file that begins like a WAV recording is read or refused, without a panic and within bounds.
#![no_main]

#[path = "common/audio.rs"]
mod audio;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The first byte chooses among the kinds of WAV files; the rest is up to the fuzzer.
    let Some((choice, rest)) = bytes.split_first() else { return };
    let kind: &[u8] = [b"RIFF".as_slice(), b"RF64", b"BW64"][usize::from(choice % 3)];
    let Some((size, rest)) = rest.split_at_checked(4) else { return };
    audio::read(&[kind, size, b"WAVE", rest].concat());
});
