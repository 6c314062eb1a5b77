//! Packed bodies, whole and broken, in pieces of every size.

use callvine_shared::objects::Space;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bare(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The bytes in the sink after a body that comes in pieces of so many bytes.
fn unpacked(packing: Packing, body: &[u8], piece: usize, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = Sink::create(&Space::new(directory.path(), 0), bytes_max).unwrap();
    let mut unpacker = Unpacker::new(packing, &mut sink);
    body.chunks(piece).try_for_each(|bytes| unpacker.push(bytes))?;
    unpacker.finish()?;
    let fetched = sink.finish(true)?;
    Ok(std::fs::read(fetched.file.path()).unwrap())
}

fn sound(size: usize) -> Vec<u8> {
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((0..size).map(|number| u8::try_from(number * number % 251).unwrap()));
    bytes
}

#[test]
fn packed_recordings_are_unpacked_and_others_are_left_alone() {
    let sound = sound(200_000);
    let twice = [gzip(&sound), gzip(b"more")].concat();
    let joined = [&sound[..], b"more"].concat();
    for (case, packing, body, expected) in [
        ("gzip", Packing::Gzip, gzip(&sound), &sound),
        ("two members", Packing::Gzip, twice, &joined),
        ("gzip by name only", Packing::Gzip, sound.clone(), &sound),
        ("deflate", Packing::Deflate, zlib(&sound), &sound),
        ("deflate without its wrapping", Packing::Deflate, bare(&sound), &sound),
        ("bytes after deflate", Packing::Deflate, [&zlib(&sound)[..], b"\r\n"].concat(), &sound),
        ("deflate by name only", Packing::Deflate, sound.clone(), &sound),
        ("not packed", Packing::None, sound.clone(), &sound),
    ] {
        for piece in [1, 3, 1000, 1 << 20] {
            assert_eq!(&unpacked(packing, &body, piece, 1 << 20).unwrap(), expected, "{case} by {piece}");
        }
    }
    let mpeg = [0xff, 0xfb, 0x90, 0x64, 1, 2, 3];
    for packing in [Packing::Gzip, Packing::Deflate] {
        assert_eq!(unpacked(packing, &mpeg, 1, 100).unwrap(), mpeg);
        assert_eq!(unpacked(packing, b"ID", 1, 100).unwrap(), b"ID", "shorter than any mark");
        assert_eq!(unpacked(packing, b"", 1, 100).unwrap_err().reason, Reason::Empty);
    }
}

#[test]
fn a_packed_recording_that_breaks_off_or_is_broken_is_truncated() {
    let sound = sound(50_000);
    for (packing, body) in
        [(Packing::Gzip, gzip(&sound)), (Packing::Deflate, zlib(&sound)), (Packing::Deflate, bare(&sound))]
    {
        for cut in [5, 20, body.len() / 2, body.len() - 5, body.len() - 1] {
            let failure = unpacked(packing, &body[..cut], 1000, 1 << 20).unwrap_err();
            assert_eq!(failure.reason, Reason::Truncated, "{packing:?} cut at {cut}");
        }
    }
    for (packing, mut body) in [(Packing::Gzip, gzip(&sound)), (Packing::Deflate, zlib(&sound))] {
        let middle = body.len() / 2;
        body[middle] ^= 0xff;
        assert_eq!(unpacked(packing, &body, 1000, 1 << 20).unwrap_err().reason, Reason::Truncated);
    }
}

#[test]
fn bombs_are_too_large() {
    let silence = vec![0; usize::try_from(RATIO_FROM_BYTES).unwrap()];
    for (packing, quiet, bomb) in [
        (Packing::Gzip, gzip(&silence), gzip(&[&silence[..], &[0; 100_000]].concat())),
        (Packing::Deflate, zlib(&silence), zlib(&[&silence[..], &[0; 100_000]].concat())),
    ] {
        assert_eq!(unpacked(packing, &quiet, 1 << 17, 1 << 30).unwrap().len(), silence.len());
        let failure = unpacked(packing, &bomb, 1 << 17, 1 << 30).unwrap_err();
        assert_eq!(failure.reason, Reason::TooLarge);
        assert!(failure.detail.contains("100 times"), "{failure}");
        let failure = unpacked(packing, &quiet, 1 << 17, 1 << 20).unwrap_err();
        assert!(failure.detail.contains("CALLVINE_MAX_RECORDING"), "{failure}");
    }
}

#[test]
fn the_packing_that_is_known_and_was_put_on_last_counts() {
    for (values, expected) in [
        (&["gzip"][..], Packing::Gzip),
        (&["X-GZip"], Packing::Gzip),
        (&["Deflate"], Packing::Deflate),
        (&["identity"], Packing::None),
        (&["br"], Packing::None),
        (&["aws-chunked"], Packing::None),
        (&["aws-chunked, gzip"], Packing::Gzip),
        (&["deflate,gzip"], Packing::Gzip),
        (&["gzip", "deflate"], Packing::Deflate),
        (&[""], Packing::None),
        (&[], Packing::None),
    ] {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, value.parse().unwrap());
        }
        assert_eq!(Packing::of(&headers), expected, "{values:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_unpacker_panic(
        body in prop::collection::vec(any::<u8>(), 0..300),
        mark in prop::sample::select(vec![&[][..], &[0x1f, 0x8b, 8], &[0x78, 0x9c], &[0x78, 0xda]]),
        piece in 1_usize..50,
    ) {
        for packing in [Packing::None, Packing::Gzip, Packing::Deflate] {
            drop(unpacked(packing, &[mark, &body].concat(), piece, 1 << 20));
        }
    }
}
