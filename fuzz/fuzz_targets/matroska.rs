//! A Matroska or WebM file is read or refused, without a panic and within bounds.
#![no_main]

#[path = "common/audio.rs"]
mod audio;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    audio::read(&[b"\x1a\x45\xdf\xa3".as_slice(), bytes].concat());
});
