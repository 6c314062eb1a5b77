//! Everything but WAV.

use std::fs::File;
use std::time::Duration;

use super::*;
use crate::decode::Container;

const COMPRESSED: &[(&str, &str, &str, &str)] = &[
    ("a.mp3", "audio/mpeg", "mp3", "sox IN OUT"),
    ("b.mp3", "audio/mpeg", "mp3", "ffmpeg -v error -i IN OUT"),
    ("c.mp3", "audio/mpeg", "mp3", "ffmpeg -v error -i IN -write_xing 0 -id3v2_version 0 OUT"),
    ("d.mp3", "audio/mpeg", "mp3", "ffmpeg -v error -i IN -ar 22050 -q:a 7 OUT"),
    ("e.mp3", "audio/mpeg", "mp3", "sox -M IN SHORT -r 44100 OUT"),
    ("f.mp2", "audio/mpeg", "mp2", "ffmpeg -v error -i IN -ar 16000 OUT"),
    ("g.wav", "audio/wav", "mp3", "ffmpeg -v error -i IN -c:a libmp3lame OUT"),
    ("a.ogg", "audio/ogg", "vorbis", "sox IN OUT"),
    ("b.ogg", "audio/ogg", "vorbis", "sox -M IN SHORT OUT"),
    ("c.oga", "audio/ogg", "flac", "ffmpeg -v error -i IN -c:a flac OUT"),
    ("a.flac", "audio/flac", "flac", "sox IN OUT"),
    ("b.flac", "audio/flac", "flac", "sox -M IN SHORT -b 24 OUT"),
    ("a.m4a", "audio/mp4", "aac", "ffmpeg -v error -i IN OUT"),
    ("b.m4a", "audio/mp4", "aac", "ffmpeg -v error -i IN -ar 44100 -ac 2 OUT"),
    ("c.m4a", "audio/mp4", "aac", "ffmpeg -v error -i IN -movflags frag_keyframe+empty_moov OUT"),
    ("d.m4a", "audio/mp4", "aac", "ffmpeg -v error -i IN -movflags faststart OUT"),
];

#[test]
fn compressed_files_are_decoded() {
    let workshop = Workshop::new();
    for (name, media_type, codec, command) in COMPRESSED {
        assert_read(&workshop.make(name, command), media_type, codec, Verification::Decoded);
    }
}

#[test]
fn bare_aac_is_counted_by_its_frames() {
    // ffprobe estimates, so the prompt's own length is the measure: its frames of 128 ms, and one of encoder delay.
    let workshop = Workshop::new();
    let facts = facts_of(&workshop.make("a.aac", "ffmpeg -v error -i IN OUT")).unwrap();
    assert_eq!((facts.media_type, facts.codec.as_ref()), ("audio/aac", "aac"));
    assert_eq!(facts.verification, Verification::Decoded);
    assert!((30.276..30.276 + 2.0 * 0.128).contains(&facts.duration_seconds), "{}", facts.duration_seconds);
}

#[test]
fn compressed_files_of_codecs_that_are_not_decoded_here_are_walked() {
    let workshop = Workshop::new();
    for (name, media_type, codec, command) in [
        ("a.opus", "audio/ogg", "opus", "ffmpeg -v error -i IN OUT"),
        ("b.opus", "audio/ogg", "opus", "ffmpeg -v error -i IN -ac 2 -frame_duration 60 OUT"),
        ("a.spx", "audio/ogg", "speex", "ffmpeg -v error -i IN -c:a libspeex OUT"),
        ("a.m4a", "audio/mp4", "alac", "ffmpeg -v error -i IN -c:a alac OUT"),
        ("b.mp4", "audio/mp4", "opus", "ffmpeg -v error -i IN -c:a libopus OUT"),
    ] {
        assert_read(&workshop.make(name, command), media_type, codec, Verification::HeaderOnly);
    }
}

#[test]
fn amr_is_walked_frame_by_frame() {
    let workshop = Workshop::new();
    let path = workshop.make("a.amr-nb", "sox IN OUT");
    let facts = facts_of(&path).unwrap();
    assert_eq!((facts.media_type, facts.codec.as_ref()), ("audio/amr", "amr_nb"));
    assert_eq!(facts.shape, Shape { channels: 1, sample_rate: 8_000 });
    // ffprobe guesses the duration of AMR by its first frames; soxi counts.
    let counted: f64 =
        run(&["soxi", "-D", path.to_str().unwrap()].map(str::to_owned)).trim().parse().unwrap();
    assert!((facts.duration_seconds - counted).abs() < 0.020, "{} {counted}", facts.duration_seconds);

    let whole = std::fs::read(&path).unwrap();
    assert_refused(&workshop.write("b.amr", &whole[..1000]), &Refusal::Truncated);
    assert_refused(&workshop.write("b.amr", b"#!AMR\n"), &Refusal::Empty);
    assert_refused(&workshop.write("b.amr", b"#!AMR\n\xff"), &Refusal::not_audio(""));
    assert_refused(&workshop.write("b.amr", b"#!AMR-NB\n"), &Refusal::not_audio(""));

    // No tool here writes AMR-WB: half a second of mode 0 (17 bytes a frame), one lost frame and one of silence.
    let mut wide = b"#!AMR-WB\n".to_vec();
    for _ in 0..25 {
        wide.push(0x04);
        wide.extend_from_slice(&[0x55; 17]);
    }
    wide.push(0x74);
    wide.extend_from_slice(&[0x4c, 1, 2, 3, 4, 5]);
    let facts = facts_of(&workshop.write("a.awb", &wide)).unwrap();
    assert_eq!(
        (facts.media_type, facts.codec.as_ref(), facts.shape.sample_rate),
        ("audio/amr-wb", "amr_wb", 16_000)
    );
    assert!((facts.duration_seconds - 0.54).abs() < 1e-9);
}

#[test]
fn flac_has_its_seek_points_in_order() {
    let workshop = Workshop::new();
    // Not as sox writes it, which has a table already.
    let whole = std::fs::read(workshop.make("a.flac", "ffmpeg -v error -i IN OUT")).unwrap();
    assert_eq!((&whole[..4], whole[4] & 0x7f), (&b"fLaC"[..], 0));
    let seconds = facts_of(&workshop.write("a.flac", &whole)).unwrap().duration_seconds;
    let with_points = |points: &[u64]| {
        let size = u32::try_from(points.len() * 18).unwrap().to_be_bytes();
        let mut table = [&[3], &size[1..]].concat();
        for point in points {
            table.extend_from_slice(&[&point.to_be_bytes()[..], &[0; 10]].concat());
        }
        [&whole[..42], &table, &whole[42..]].concat()
    };
    for (points, is_read) in [
        (&[0, 4096, 8192, u64::MAX, u64::MAX][..], true),
        (&[0, 0], true),
        (&[8192, 4096], false),
        (&[4096, u64::MAX, 0], false),
    ] {
        let path = workshop.write("a.flac", &with_points(points));
        match is_read {
            true => assert_eq!(facts_of(&path).unwrap().duration_seconds, seconds),
            false => assert_refused(&path, &Refusal::not_audio("")),
        }
    }
    // Hundreds of thousands of points, as a hostile file has them: this ends at once, in one step for each.
    let falling: Vec<u64> = (0..900_000).rev().collect();
    assert_refused(&workshop.write("a.flac", &with_points(&falling)), &Refusal::not_audio(""));
    let tagged = [&b"ID3\x04\0\0\0\0\0\x05"[..], &[0; 5], &whole].concat();
    assert_eq!(facts_of(&workshop.write("a.flac", &tagged)).unwrap().duration_seconds, seconds);
}

#[test]
fn compressed_files_that_end_early_are_truncated() {
    let workshop = Workshop::new();
    for (name, command) in [
        // Not as sox writes it: without a count of frames the end can't be missed.
        ("b.mp3", "ffmpeg -v error -i IN OUT"),
        ("a.ogg", "sox IN OUT"),
        ("a.opus", "ffmpeg -v error -i IN OUT"),
        ("c.oga", "ffmpeg -v error -i IN -c:a flac OUT"),
        ("a.flac", "sox IN OUT"),
        ("a.aiff", "sox IN OUT"),
        ("a.m4a", "ffmpeg -v error -i IN OUT"),
        ("b.m4a", "ffmpeg -v error -i IN -movflags faststart OUT"),
    ] {
        let whole = std::fs::read(workshop.make(name, command)).unwrap();
        for share in [10, 3, 2] {
            let cut = workshop.write("cut", &whole[..whole.len() - whole.len() / share]);
            match facts_of(&cut) {
                Ok(facts) => panic!("{name} less one {share}th passed: {} s", facts.duration_seconds),
                Err(refusal) => assert!(matches!(refusal, Refusal::Truncated), "{name} {share}: {refusal}"),
            }
        }
    }
}

#[test]
fn a_file_that_takes_too_long_to_decode_is_walked_and_has_its_whole_length() {
    let workshop = Workshop::new();
    for (name, command, container) in [
        ("a.flac", "sox IN OUT", Container::Flac),
        ("a.ogg", "sox IN OUT", Container::Ogg),
        ("a.m4a", "ffmpeg -v error -i IN OUT", Container::Mp4),
    ] {
        let path = workshop.make(name, command);
        let mut input = Input::new(File::open(&path).unwrap()).unwrap();
        let mut section = || input.section(0, u64::MAX).unwrap();
        let whole = decode::run(section(), container, &mut |_, _| {}).unwrap().facts;
        let facts = decode::run_within(Duration::ZERO, section(), container, &mut |_, _| {}).unwrap().facts;
        assert_eq!(facts.verification, Verification::HeaderOnly, "{name}");
        assert_eq!(whole.verification, Verification::Decoded, "{name}");
        assert_eq!((facts.codec, facts.duration_seconds), (whole.codec, whole.duration_seconds), "{name}");
    }
}
