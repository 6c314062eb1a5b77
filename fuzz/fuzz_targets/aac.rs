//! A stream of AAC in ADTS is read or refused, without a panic and within bounds.
#![no_main]

#[path = "common/audio.rs"]
mod audio;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    audio::read(&[&[0xff, 0xf1], bytes].concat());
});
