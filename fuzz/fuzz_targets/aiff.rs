//! An AIFF or AIFF-C file is read or refused, without a panic and within bounds.
#![no_main]

#[path = "common/audio.rs"]
mod audio;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let kind: &[u8] = [b"AIFF", b"AIFC"][usize::from(choice % 2)];
    let Some((size, rest)) = rest.split_at_checked(4) else { return };
    audio::read(&[b"FORM", size, kind, rest].concat());
});
