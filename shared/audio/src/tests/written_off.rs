//! WAV and Sun audio whose headers contradict what follows, or name codecs that are seldom met.

use super::*;

/// A WAV file of 64,000 bytes of a low tone, with these bytes of format, and sizes as if `promised` bytes came.
fn file(format: &[u8], promised: u32, bytes: usize) -> Vec<u8> {
    let mut file = b"RIFF\0\0\0\0WAVEfmt ".to_vec();
    file.extend_from_slice(&u32::try_from(format.len()).unwrap().to_le_bytes());
    file.extend_from_slice(format);
    file.extend_from_slice(b"data");
    file.extend_from_slice(&promised.to_le_bytes());
    let riff = if promised == 0 { 0 } else { promised + 20 + u32::try_from(format.len()).unwrap() };
    file[4..8].copy_from_slice(&riff.to_le_bytes());
    file.extend((0..bytes).map(|at| if at % 2 == 0 { 0 } else { u8::try_from(at / 2 % 40).unwrap() }));
    file
}

/// Tag, channels, bytes of a block, bits; 8 kHz.
fn format(tag: u16, channels: u16, block: u16, bits: u16) -> Vec<u8> {
    let mut format = [tag.to_le_bytes(), channels.to_le_bytes()].concat();
    format.extend_from_slice(&8_000_u32.to_le_bytes());
    format.extend_from_slice(&(8_000 * u32::from(bits) * u32::from(channels) / 8).to_le_bytes());
    format.extend_from_slice(&[block.to_le_bytes(), bits.to_le_bytes()].concat());
    format
}

fn pcm() -> Vec<u8> {
    format(1, 1, 2, 16)
}

#[test]
fn recorders_that_count_their_header_are_forgiven() {
    let workshop = Workshop::new();
    for (promised, ending) in
        [(64_000, Ending::Told), (64_001, Ending::Short), (64_016, Ending::Short), (64_044, Ending::Short)]
    {
        let facts = facts_of(&workshop.write("a.wav", &file(&pcm(), promised, 64_000))).unwrap();
        assert_eq!(
            (&*facts.codec, facts.duration_seconds, facts.ending),
            ("pcm_s16le", 4.0, ending),
            "{promised}"
        );
    }
    for (promised, bytes) in [(64_045, 64_000), (64_000, 32_000), (128_000, 64_000), (64_000, 0)] {
        assert_refused(&workshop.write("a.wav", &file(&pcm(), promised, bytes)), &Refusal::Truncated);
    }
    // Chunks before the samples make the header longer, but not without an end.
    let mut long = file(&pcm(), 70_000, 64_000);
    long.splice(36..36, [&b"JUNK\x00\x40\0\0"[..], &[0; 0x4000]].concat());
    assert_refused(&workshop.write("a.wav", &long), &Refusal::Truncated);
}

#[test]
fn the_bits_tell_how_wide_a_sample_is() {
    let workshop = Workshop::new();
    for (channels, block, bits, codec, seconds) in [
        (1, 2, 16, "pcm_s16le", 4.0),
        (1, 1, 16, "pcm_s16le", 4.0),
        (1, 16, 16, "pcm_s16le", 4.0),
        (1, 0, 16, "pcm_s16le", 4.0),
        (2, 2, 16, "pcm_s16le", 2.0),
        (2, 3, 16, "pcm_s16le", 2.0),
        (1, 8, 8, "pcm_u8", 8.0),
        (1, 3, 20, "pcm_s24le", 64_000.0 / 24_000.0),
        (1, 4, 24, "pcm_s24le", 64_000.0 / 24_000.0),
        (1, 2, 12, "pcm_s16le", 4.0),
        (1, 1, 32, "pcm_s32le", 2.0),
        (1, 2, 0, "pcm_s16le", 4.0),
    ] {
        let path = workshop.write("a.wav", &file(&format(1, channels, block, bits), 64_000, 64_000));
        let facts = facts_of(&path).unwrap();
        assert_eq!((&*facts.codec, facts.shape.channels), (codec, channels), "{block} {bits}");
        assert!(
            (facts.duration_seconds - seconds).abs() < 0.001,
            "{block} {bits}: {}",
            facts.duration_seconds
        );
    }
    for (block, bits) in [(0, 0), (9, 72), (2, u16::MAX)] {
        let path = workshop.write("a.wav", &file(&format(1, 1, block, bits), 64_000, 64_000));
        assert_refused(&path, &Refusal::not_audio(""));
    }
}

#[test]
fn an_open_size_is_told() {
    let workshop = Workshop::new();
    for bytes in [21_334, 42_666, 64_000] {
        let facts = facts_of(&workshop.write("a.wav", &file(&pcm(), 0, bytes))).unwrap();
        assert_eq!((facts.ending, facts.duration_seconds), (Ending::Open, bytes as f64 / 16_000.0));
    }
    let piped = workshop.path("piped.wav");
    let script = format!("ffmpeg -v error -i {PROMPTS}/agent-pass.wav -f wav - | cat > {}", piped.display());
    run(&["sh".to_owned(), "-c".to_owned(), script]);
    assert_eq!(facts_of(&piped).unwrap().ending, Ending::Open);
    assert_eq!(facts_of(&workshop.make("b.wav", "sox SHORT OUT")).unwrap().ending, Ending::Told);
}

#[test]
fn codecs_of_voice_boards_are_walked() {
    let workshop = Workshop::new();
    for (tag, block, codec) in [
        (0x10, 1, "adpcm_ima_oki"),
        (0x17, 1, "adpcm_ima_oki"),
        (0x38, 82, "adpcm_nms"),
        (0x45, 1, "adpcm_g726"),
    ] {
        // Four bits a sample: as long as twice as many bytes of eight.
        let path = workshop.write("a.wav", &file(&format(tag, 1, block, 4), 16_000, 16_000));
        let facts = facts_of(&path).unwrap();
        assert_eq!((&*facts.codec, facts.duration_seconds), (codec, 4.0), "{tag:#x}");
        assert_eq!(facts.verification, Verification::HeaderOnly);
        if tag != 0x38 {
            let (probed_codec, rate, channels, seconds) = probed(&path);
            assert_eq!((&*probed_codec, rate, channels, seconds), (codec, 8_000, 1, 4.0), "{tag:#x}");
        }
    }
    let unknown = facts_of(&workshop.write("a.wav", &file(&format(0x1234, 1, 1, 4), 100, 100))).unwrap_err();
    assert!(unknown.to_string().contains("0x1234"), "{unknown}");
}

#[test]
fn sun_audio_is_read() {
    let workshop = Workshop::new();
    for (name, codec, command) in [
        ("a.au", "pcm_mulaw", "sox IN -e mu-law OUT"),
        ("b.au", "pcm_alaw", "sox -M IN SHORT -e a-law OUT"),
        ("c.au", "pcm_s16be", "sox IN OUT"),
        ("d.au", "pcm_s8", "sox IN -b 8 -e signed-integer OUT"),
        ("e.au", "pcm_s24be", "sox IN -b 24 OUT"),
        ("f.au", "pcm_s32be", "sox IN -b 32 OUT"),
        ("g.au", "pcm_f32be", "sox IN -e floating-point -b 32 OUT"),
        ("h.au", "pcm_f64be", "sox IN -e floating-point -b 64 OUT"),
        ("i.au", "pcm_s16be", "ffmpeg -v error -i IN OUT"),
    ] {
        let facts = assert_read(&workshop.make(name, command), "audio/basic", codec, Verification::Decoded);
        assert_eq!(facts.ending, Ending::Told, "{name}");
    }
}

#[test]
fn sun_audio_has_its_sizes_judged_like_wav() {
    let workshop = Workshop::new();
    let header = |start: u32, size: u32, encoding: u32| {
        let words = [start, size, encoding, 8_000, 1].map(u32::to_be_bytes).concat();
        [b".snd".to_vec(), words, vec![0x80; 32_000]].concat()
    };
    for (start, size, encoding, codec, ending) in [
        (24, 32_000, 1, "pcm_mulaw", Ending::Told),
        (24, 32_024, 1, "pcm_mulaw", Ending::Short),
        (24, u32::MAX, 27, "pcm_alaw", Ending::Open),
        (24, 0, 1, "pcm_mulaw", Ending::Open),
    ] {
        let facts = facts_of(&workshop.write("a.au", &header(start, size, encoding))).unwrap();
        assert_eq!((&*facts.codec, facts.duration_seconds, facts.ending), (codec, 4.0, ending), "{size}");
    }
    let facts = facts_of(&workshop.write("a.au", &header(24, 32_000, 23))).unwrap();
    assert_eq!((&*facts.codec, facts.duration_seconds), ("adpcm_g726le", 8.0));
    for (start, size, encoding, refusal) in [
        (24, 64_000, 1, Refusal::Truncated),
        (24, 32_025, 1, Refusal::Truncated),
        (40_000, 100, 1, Refusal::Truncated),
        (8, 32_000, 1, Refusal::not_audio("")),
        (24, 32_000, 99, Refusal::not_audio("")),
        (32_024, u32::MAX, 1, Refusal::Empty),
    ] {
        assert_refused(&workshop.write("a.au", &header(start, size, encoding)), &refusal);
    }
    assert_refused(&workshop.write("a.au", b".snd\0\0\0\x18"), &Refusal::Truncated);
}
