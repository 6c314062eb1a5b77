//! A stream of MPEG audio is read or refused, without a panic and within bounds.
#![no_main]

#[path = "common/audio.rs"]
mod audio;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The first byte chooses a tag or none; the rest is up to the fuzzer.
    let Some((choice, rest)) = bytes.split_first() else { return };
    let start: &[u8] = [b"ID3\x04".as_slice(), &[0xff, 0xfb], &[0xff, 0xe3], &[0xff, 0xfd]][usize::from(choice % 4)];
    audio::read(&[start, rest].concat());
});
