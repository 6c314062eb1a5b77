//! MP4's relatives, and tables that claim more than a file holds.

use super::*;

#[test]
fn telephones_codecs_in_3gp_and_quicktime_are_walked() {
    let workshop = Workshop::new();
    let amr = workshop.make("a.amr-nb", "sox IN OUT trim 0 4");
    for (name, media_type, codec, options) in [
        ("a.3gp", "audio/3gpp", "amr_nb", "AMR -c copy"),
        ("a.3g2", "audio/3gpp2", "amr_nb", "AMR -c copy"),
        ("b.3gp", "audio/3gpp", "amr_nb", "AMR -c copy -movflags faststart"),
        (
            "c.3gp",
            "audio/3gpp",
            "amr_nb",
            "AMR -c copy -movflags frag_keyframe+empty_moov -frag_duration 500000",
        ),
        ("a.mov", "audio/quicktime", "pcm_alaw", "WAV -c:a pcm_alaw"),
        ("b.mov", "audio/quicktime", "pcm_mulaw", "WAV -c:a pcm_mulaw -ac 2"),
        ("c.mov", "audio/quicktime", "pcm_mulaw", "WAV -c:a pcm_mulaw -movflags faststart"),
        ("d.mov", "audio/quicktime", "adpcm_ima_qt", "WAV -c:a adpcm_ima_qt"),
    ] {
        let from =
            options.replace("AMR", &format!("-f amr -i {}", amr.display())).replace("WAV", "-i IN -t 4");
        let path = workshop.make(name, &format!("ffmpeg -v error {from} OUT"));
        let facts = assert_read(&path, media_type, codec, Verification::HeaderOnly);
        assert!((facts.duration_seconds - 4.0).abs() <= 0.010, "{name}: {}", facts.duration_seconds);
    }
}

#[test]
fn quicktime_is_decoded_where_its_codec_is() {
    let workshop = Workshop::new();
    for (name, codec, options) in [("a.mov", "pcm_s16le", "-c:a pcm_s16le"), ("b.mov", "aac", "-c:a aac")] {
        let path = workshop.make(name, &format!("ffmpeg -v error -i IN {options} OUT"));
        assert_read(&path, "audio/quicktime", codec, Verification::Decoded);
    }
    // QuickTime of old has no type.
    let path = workshop.make("c.mov", "ffmpeg -v error -i IN -c:a pcm_mulaw OUT");
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(&whole[4..8], b"ftyp");
    let typeless = workshop.write("d.mov", &[&whole[..4], b"skip", &whole[8..]].concat());
    assert_eq!(&*facts_of(&typeless).unwrap().codec, "pcm_mulaw");
}

/// A box.
fn a_box(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&u32::try_from(content.len() + 8).unwrap().to_be_bytes()[..], kind, content].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A track of sound that is described, and has these tables.
fn track(codec: &[u8; 4], tables: &[u8]) -> Vec<u8> {
    let entry = [&words(&[0, 1, 36])[..], codec, &words(&[0, 1, 0, 0, 0x1_0010, 0, 8_000 << 16])].concat();
    let table = a_box(b"stbl", &[a_box(b"stsd", &entry), tables.to_vec()].concat());
    let media = [
        a_box(b"mdhd", &words(&[0, 0, 0, 8_000, 32_000, 0])),
        a_box(b"hdlr", &[&words(&[0, 0])[..], b"soun", &[0; 13]].concat()),
        a_box(b"minf", &table),
    ];
    a_box(b"trak", &a_box(b"mdia", &media.concat()))
}

fn file(boxes: &[Vec<u8>]) -> Vec<u8> {
    [a_box(b"ftyp", b"isom\0\0\0\0"), boxes.concat(), a_box(b"mdat", &[0x55; 4_000])].concat()
}

fn stts(count: u32, ticks: u32) -> Vec<u8> {
    a_box(b"stts", &words(&[0, 1, count, ticks]))
}

fn stsz(size: u32, count: u32) -> Vec<u8> {
    a_box(b"stsz", &words(&[0, size, count]))
}

#[test]
fn tables_that_claim_more_than_there_is_are_refused() {
    let workshop = Workshop::new();
    let moov = |tables: &[Vec<u8>]| a_box(b"moov", &track(b"samr", &tables.concat()));
    let whole = file(&[moov(&[stts(200, 160), stsz(13, 200)])]);
    let facts = facts_of(&workshop.write("a.mp4", &whole)).unwrap();
    assert_eq!((&*facts.codec, facts.duration_seconds), ("amr_nb", 4.0));
    let run = |count: u32| a_box(b"trun", &words(&[0, count]));
    let fragment = |runs: Vec<u8>| {
        a_box(b"moof", &a_box(b"traf", &[a_box(b"tfhd", &words(&[8, 1, 160])), runs].concat()))
    };
    let tracks = |count: usize| a_box(b"moov", &track(b"mp4a", &stts(0, 0)).repeat(count));
    let facts =
        facts_of(&workshop.write("a.mp4", &file(&[moov(&[stts(0, 0)]), fragment(run(200))]))).unwrap();
    assert_eq!(facts.duration_seconds, 4.0);
    for (case, boxes, refusal) in [
        ("no samples", vec![moov(&[])], Refusal::Empty),
        ("no sizes", vec![moov(&[stts(200, 160), stsz(0, 0)])], Refusal::not_audio("")),
        (
            "samples without bytes",
            vec![moov(&[stts(2, 160), a_box(b"stsz", &words(&[0, 0, 2, 0, 0]))])],
            Refusal::not_audio(""),
        ),
        ("larger than the file", vec![moov(&[stts(200, 160), stsz(1300, 200)])], Refusal::Truncated),
        ("more sizes than bytes", vec![moov(&[stts(200, 160), stsz(0, 200)])], Refusal::not_audio("")),
        ("for ever", vec![moov(&[stts(u32::MAX, u32::MAX), stsz(13, 200)])], Refusal::not_audio("")),
        (
            "more spans than bytes",
            vec![moov(&[a_box(b"stts", &words(&[0, u32::MAX, 1, 1]))])],
            Refusal::not_audio(""),
        ),
        (
            "a run of four thousand million",
            vec![moov(&[stts(0, 0)]), fragment([run(0).repeat(1000), run(u32::MAX)].concat())],
            Refusal::not_audio(""),
        ),
        (
            "two thousand runs",
            vec![moov(&[stts(0, 0)]), fragment(run(0).repeat(2000))],
            Refusal::not_audio(""),
        ),
        ("a hundred tracks", vec![tracks(100)], Refusal::not_audio("")),
        ("fragments of many tracks", vec![tracks(60), fragment(run(0)).repeat(2000)], Refusal::not_audio("")),
    ] {
        let path = workshop.write("a.mp4", &file(&boxes));
        match facts_of(&path) {
            Ok(facts) => panic!("{case} passed as {facts:?}"),
            Err(found) => assert_eq!(discriminant(&found), discriminant(&refusal), "{case}: {found}"),
        }
    }
}

#[test]
fn packets_without_bytes_are_refused_before_they_are_counted() {
    let workshop = Workshop::new();
    // Sixty samples of sound in fragments, of which none has a byte.
    let moov = a_box(
        b"moov",
        &[
            a_box(b"mvhd", &[&words(&[0, 0, 0, 8_000, 0])[..], &[0; 80]].concat()),
            track(b"mp4a", &[stts(0, 0), stsz(0, 0)].concat()),
            a_box(b"mvex", &a_box(b"trex", &words(&[0, 1, 1, 1024, 0, 0]))),
        ]
        .concat(),
    );
    let run = a_box(b"trun", &words(&[0, 60]));
    let fragment = a_box(b"moof", &a_box(b"traf", &[a_box(b"tfhd", &words(&[0, 1])), run].concat()));
    assert_refused(&workshop.write("a.mp4", &file(&[moov, fragment])), &Refusal::not_audio(""));
}
