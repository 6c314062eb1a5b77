//! A file that begins like an AMR recording is read or refused, without a panic and within bounds.
#![no_main]

#[path = "common/audio.rs"]
mod audio;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let magic: &[u8] =
        [b"#!AMR\n".as_slice(), b"#!AMR-WB\n", b"#!AMR_MC1.0\n", b"#!AM"][usize::from(choice % 4)];
    audio::read(&[magic, rest].concat());
});
