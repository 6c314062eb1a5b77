//! AIFF and AIFF-C, as tools and recorders write them.

use super::*;

#[test]
fn every_kind_of_aiff_is_decoded() {
    let workshop = Workshop::new();
    for (name, codec, command) in [
        ("a.aiff", "pcm_s16be", "sox IN OUT"),
        ("b.aiff", "pcm_s8", "sox IN -b 8 OUT"),
        ("c.aiff", "pcm_s24be", "sox IN -b 24 OUT"),
        ("d.aiff", "pcm_s32be", "sox -M IN SHORT -b 32 OUT"),
        ("e.aiff", "pcm_s16be", "sox IN -r 44100 -c 2 OUT"),
        ("a.aifc", "pcm_f32be", "sox IN -e floating-point -b 32 OUT"),
        ("b.aifc", "pcm_f64be", "ffmpeg -v error -i IN -c:a pcm_f64be -f aiff OUT"),
        ("c.aifc", "pcm_alaw", "ffmpeg -v error -i IN -c:a pcm_alaw -f aiff OUT"),
        ("d.aifc", "pcm_mulaw", "ffmpeg -v error -i IN -c:a pcm_mulaw -ac 2 -f aiff OUT"),
        ("e.aifc", "pcm_s16le", "ffmpeg -v error -i IN -c:a pcm_s16le -f aiff OUT"),
        ("f.aifc", "pcm_u8", "ffmpeg -v error -i IN -c:a pcm_u8 -f aiff OUT"),
    ] {
        assert_read(&workshop.make(name, command), "audio/aiff", codec, Verification::Decoded);
    }
    let ima = workshop.make("ima.aifc", "ffmpeg -v error -i IN -c:a adpcm_ima_qt -f aiff OUT");
    assert_read(&ima, "audio/aiff", "adpcm_ima_qt", Verification::HeaderOnly);
}

/// The bytes of a header with nothing before the samples but `COMM`.
const HEADER: usize = 54;

/// An AIFF file of 8 kHz, 16 bits, mono, with these sizes of `FORM` and of the samples, and so many bytes of them.
fn file(form: u32, promised: u32, bytes: usize) -> Vec<u8> {
    let common = [&[0, 1][..], &32_000_u32.to_be_bytes(), &[0, 16], &RATE].concat();
    let start = [&b"FORM"[..], &form.to_be_bytes(), b"AIFFCOMM", &18_u32.to_be_bytes(), &common].concat();
    let sound = [b"SSND", &promised.wrapping_add(8).to_be_bytes()[..], &[0; 8]].concat();
    let file = [start, sound, vec![7; bytes]].concat();
    assert_eq!(file.len(), HEADER + bytes);
    file
}

/// 8,000 as a number of 80 bits: 125 times 64.
const RATE: [u8; 10] = [0x40, 0x0b, 0xfa, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn sizes_that_are_a_little_off_or_were_never_filled_in_are_forgiven() {
    let workshop = Workshop::new();
    for (form, promised, ending) in [
        (64_046, 64_000, Ending::Told),
        (64_100, 64_000, Ending::Told),
        (0, 64_000, Ending::Told),
        (64_047, 64_001, Ending::Short),
        (64_062, 64_016, Ending::Short),
        (64_100, 64_054, Ending::Short),
        (0, 64_054, Ending::Short),
        (0, 0, Ending::Open),
        (46, 0, Ending::Open),
        // A chunk of size 0, as ffmpeg writes it to a pipe.
        (0, 0_u32.wrapping_sub(8), Ending::Open),
        // As sox does.
        (0x7f00_0050, 0x7f00_0000, Ending::Open),
        (u32::MAX, u32::MAX - 8, Ending::Open),
    ] {
        let facts = facts_of(&workshop.write("a.aiff", &file(form, promised, 64_000)));
        let facts = facts.unwrap_or_else(|refusal| panic!("{form} {promised}: {refusal}"));
        let expected = ("pcm_s16be", 4.0, ending);
        assert_eq!((&*facts.codec, facts.duration_seconds, facts.ending), expected, "{form} {promised}");
    }
    for command in ["sox IN -t aiff - trim 0 4", "ffmpeg -v error -i IN -t 4 -f aiff -"] {
        let path = workshop.path("streamed.aiff");
        let command = command.replace("IN", &format!("{PROMPTS}/demo-congrats.wav"));
        run(&["sh".to_owned(), "-c".to_owned(), format!("{command} | cat > {}", path.display())]);
        let facts = facts_of(&path).unwrap_or_else(|refusal| panic!("{command}: {refusal}"));
        assert_eq!((facts.duration_seconds, facts.ending), (4.0, Ending::Open), "{command}");
    }
}

#[test]
fn a_header_that_promises_more_than_there_is_means_truncated() {
    let workshop = Workshop::new();
    for (promised, bytes) in [(64_055, 64_000), (64_000, 32_000), (128_000, 64_000), (64_000, 0)] {
        let file = file(promised + 46, promised, bytes);
        assert_refused(&workshop.write("a.aiff", &file), &Refusal::Truncated);
    }
    let whole = file(64_046, 64_000, 64_000);
    for length in [8, 11, 12, 20, 37, 45, 53] {
        assert_refused(&workshop.write("a.aiff", &whole[..length]), &Refusal::Truncated);
    }
    for form in [46, 0] {
        assert_refused(&workshop.write("a.aiff", &file(form, 0, 0)), &Refusal::Empty);
    }
    let mut ending = file(60, 0, 0);
    ending.extend_from_slice(b"ANNO\0\0\0\x06a note");
    assert_refused(&workshop.write("a.aiff", &ending), &Refusal::Empty);
}

#[test]
fn chunks_come_in_any_order_and_a_file_without_one_is_no_audio() {
    let workshop = Workshop::new();
    let whole = file(64_046, 64_000, 64_000);
    let (head, common, sound) = (&whole[..12], &whole[12..38], &whole[38..]);
    let note = &b"ANNO\0\0\0\x05words\0"[..];
    let facts_of = |parts: &[&[u8]]| facts_of(&workshop.write("a.aiff", &parts.concat()));
    for parts in [[head, sound, note, common], [head, note, common, sound], [head, common, sound, note]] {
        assert_eq!(facts_of(&parts).unwrap().duration_seconds, 4.0);
    }
    for parts in [&[sound][..], &[sound, note], &[note, common], &[note]] {
        let rest = parts.concat();
        let of_size = |form: usize| {
            let head = [b"FORM", &u32::try_from(form).unwrap().to_be_bytes()[..], b"AIFF"].concat();
            facts_of(&[&head, &rest]).unwrap_err()
        };
        assert!(matches!(of_size(rest.len() + 4), Refusal::NotAudio(_)));
        assert!(matches!(of_size(rest.len() + 5), Refusal::Truncated));
    }
    let notes = note.repeat(2_000);
    assert!(matches!(facts_of(&[head, &notes, common, sound]), Err(Refusal::NotAudio(_))));
}

#[test]
fn rates_channels_and_codecs_that_cannot_be_are_refused() {
    let workshop = Workshop::new();
    let refused = |case: &str, at: usize, bytes: &[u8]| {
        let mut file = file(64_046, 64_000, 64_000);
        file[at..at + bytes.len()].copy_from_slice(bytes);
        let refusal = facts_of(&workshop.write("a.aiff", &file)).expect_err(case);
        assert!(matches!(refusal, Refusal::NotAudio(_)), "{case}: {refusal}");
    };
    for (case, channels) in [("no channel", 0_u16), ("33 channels", 33), ("many channels", u16::MAX)] {
        refused(case, 20, &channels.to_be_bytes());
    }
    for (case, bits) in [("no bits", 0_u16), ("33 bits", 33), ("many bits", u16::MAX)] {
        refused(case, 26, &bits.to_be_bytes());
    }
    for (case, exponent) in [
        ("below 1 Hz", 0x3ffe_u16),
        ("above 32 bits", 0x401f),
        ("infinite", 0x7fff),
        ("negative", 0xc00b),
        ("nothing", 0),
    ] {
        refused(case, 28, &exponent.to_be_bytes());
    }
    refused("an unknown codec, by a name without end", 8, b"AIFC");
}
