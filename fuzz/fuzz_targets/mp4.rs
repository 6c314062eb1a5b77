//! An MP4 or QuickTime file is read or refused, without a panic and within bounds.
#![no_main]

#[path = "common/audio.rs"]
mod audio;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    audio::read(&[&[0, 0, 0, 16], b"ftypM4A \0\0\0\0".as_slice(), bytes].concat());
});
