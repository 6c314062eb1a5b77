//! An Ogg file is read or refused, without a panic and within bounds.
#![no_main]

#[path = "common/audio.rs"]
mod audio;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    audio::read(&[b"OggS\0\x02".as_slice(), bytes].concat());
});
