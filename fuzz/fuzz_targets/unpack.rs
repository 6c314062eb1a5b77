//! A packed body gives the same recording in whatever pieces it comes, within the bounds of size and ratio.
#![no_main]

use std::io::Write;

use callvine_worker::recording::fetch::fuzzing::unpack;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use libfuzzer_sys::fuzz_target;

/// More than the ratio lets through for the largest input, so that both bounds are met.
const BYTES_MAX: u64 = 20 * 1024 * 1024;

/// `RATIO_FROM_BYTES` and `RATIO_MAX` of the unpacker.
const RATIO_FROM_BYTES: usize = 16 * 1024 * 1024;
const RATIO_MAX: usize = 100;

fuzz_target!(|bytes: &[u8]| {
    // The first byte chooses the packing and the pieces; the rest is up to the fuzzer.
    let Some((choice, body)) = bytes.split_first() else { return };
    let coding = ["gzip", "deflate"][usize::from(choice & 1)];
    let piece = usize::from(choice >> 1) + 1;
    let directory = std::env::temp_dir();
    let unpack = |coding, body: &[u8], piece| unpack(&directory, coding, body, piece, BYTES_MAX);
    let whole = unpack(coding, body, body.len());
    assert_eq!(unpack(coding, body, piece), whole, "{coding} by {piece}");
    if let Some(whole) = whole {
        assert!(whole.len() as u64 <= BYTES_MAX);
        assert!(whole.len() <= RATIO_FROM_BYTES.max(body.len() * RATIO_MAX), "{} bytes", whole.len());
    }
    if !body.is_empty() {
        let level = Compression::new(u32::from(choice % 10));
        for (coding, packed) in packed(body, level) {
            assert_eq!(unpack(coding, &packed, piece).as_deref(), Some(body), "{coding}");
        }
    }
});

/// The recording as hosts pack it.
fn packed(recording: &[u8], level: Compression) -> [(&'static str, Vec<u8>); 3] {
    let mut gzip = GzEncoder::new(Vec::new(), level);
    let mut zlib = ZlibEncoder::new(Vec::new(), level);
    let mut bare = DeflateEncoder::new(Vec::new(), level);
    for encoder in [&mut gzip as &mut dyn Write, &mut zlib, &mut bare] {
        encoder.write_all(recording).expect("memory takes all");
    }
    [
        ("gzip", gzip.finish().expect("memory takes all")),
        ("deflate", zlib.finish().expect("memory takes all")),
        ("deflate", bare.finish().expect("memory takes all")),
    ]
}
