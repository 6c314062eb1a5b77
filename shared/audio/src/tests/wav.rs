//! RIFF WAVE, as recorders and tools write it.

use super::*;

#[test]
fn every_kind_of_wav_is_decoded() {
    let workshop = Workshop::new();
    for (codec, command) in [
        ("pcm_s16le", "sox IN OUT"),
        ("pcm_u8", "sox IN -b 8 OUT"),
        ("pcm_s24le", "sox IN -b 24 OUT"),
        ("pcm_s32le", "sox IN -b 32 OUT"),
        ("pcm_f32le", "sox IN -e floating-point -b 32 OUT"),
        ("pcm_f64le", "ffmpeg -v error -i IN -c:a pcm_f64le OUT"),
        ("pcm_alaw", "sox IN -e a-law OUT"),
        ("pcm_mulaw", "sox IN -e mu-law OUT"),
        ("pcm_alaw", "sox -M IN SHORT -e a-law OUT"),
        ("pcm_s16le", "sox -M IN SHORT OUT"),
        ("pcm_s16le", "sox -M IN SHORT SHORT OUT"),
        ("pcm_s16le", "sox IN -r 44100 -c 2 OUT"),
        ("pcm_s16le", "ffmpeg -v error -i IN -rf64 always OUT"),
        ("adpcm_ima_wav", "sox IN -e ima-adpcm OUT"),
        ("adpcm_ima_wav", "sox -M IN SHORT -e ima-adpcm OUT"),
        ("adpcm_ima_wav", "ffmpeg -v error -i IN -c:a adpcm_ima_wav OUT"),
        ("adpcm_ms", "sox IN -e ms-adpcm OUT"),
        ("adpcm_ms", "sox -M IN SHORT -e ms-adpcm OUT"),
    ]
    .into_iter()
    {
        let name = format!("{:x}.wav", fastrand::u64(..));
        let path = workshop.make(&name, command);
        assert_read(&path, "audio/wav", codec, Verification::Decoded);
    }
}

#[test]
fn wav_of_codecs_that_are_not_decoded_here_is_walked() {
    let workshop = Workshop::new();
    for (codec, command) in
        [("gsm_ms", "sox IN -e gsm-full-rate OUT"), ("adpcm_g726", "ffmpeg -v error -i IN -c:a g726 OUT")]
    {
        let path = workshop.make(&format!("{codec}.wav"), command);
        assert_read(&path, "audio/wav", codec, Verification::HeaderOnly);
    }
}

/// The bytes of a WAV file of one second, whose data begin at 44.
pub(crate) fn second() -> Vec<u8> {
    let workshop = Workshop::new();
    let bytes = std::fs::read(workshop.make("a.wav", "sox IN OUT trim 0 1")).unwrap();
    assert_eq!(bytes.len(), 44 + 16_000);
    assert_eq!(&bytes[36..40], b"data");
    bytes
}

fn with_sizes(riff: u32, data: u32) -> Vec<u8> {
    let mut bytes = second();
    bytes[4..8].copy_from_slice(&riff.to_le_bytes());
    bytes[40..44].copy_from_slice(&data.to_le_bytes());
    bytes
}

#[test]
fn data_whose_size_was_never_filled_in_goes_to_the_end() {
    let workshop = Workshop::new();
    for (riff, data) in [
        (u32::MAX, u32::MAX),
        (0, 0),
        (36, 0),
        (8, 0),
        (u32::MAX, 0),
        (0x7fff_ffff, 0x7fff_ffff - 36),
        (0x7fff_f024, 0x7fff_f000),
        (0x8000_0024, 0x8000_0000),
        (16_036, u32::MAX),
    ] {
        let path = workshop.write("a.wav", &with_sizes(riff, data));
        let facts = facts_of(&path).unwrap_or_else(|refusal| panic!("{riff:x} {data:x}: {refusal}"));
        assert!((facts.duration_seconds - 1.0).abs() < 1e-9, "{riff:x} {data:x}");
    }
    let streamed = workshop.path("streamed.wav");
    let script = format!("sox {PROMPTS}/demo-congrats.wav -t wav - | cat > {}", streamed.display());
    run(&["sh".to_owned(), "-c".to_owned(), script]);
    assert!((facts_of(&streamed).unwrap().duration_seconds - 30.277).abs() < 0.02);
}

#[test]
fn a_header_that_promises_more_than_there_is_means_truncated() {
    let workshop = Workshop::new();
    let whole = second();
    for length in [4, 8, 11, 12, 20, 30, 43, 44, 45, 8_000, whole.len() - 45] {
        assert_refused(&workshop.write("a.wav", &whole[..length]), &Refusal::Truncated);
    }
    let mut trailing = whole.clone();
    trailing.extend_from_slice(b"LIST\x04\0\0\0INFO and more");
    let facts = facts_of(&workshop.write("a.wav", &trailing)).unwrap();
    assert!((facts.duration_seconds - 1.0).abs() < 1e-9, "chunks after the samples are not sound");
}

#[test]
fn a_header_without_sound_is_empty() {
    let workshop = Workshop::new();
    let mut bytes = with_sizes(36, 0);
    bytes.truncate(44);
    assert_refused(&workshop.write("a.wav", &bytes), &Refusal::Empty);
    bytes.extend_from_slice(b"LIST\x04\0\0\0INFO");
    bytes[4..8].copy_from_slice(&48_u32.to_le_bytes());
    assert_refused(&workshop.write("a.wav", &bytes), &Refusal::Empty);
    let mut unfinished = with_sizes(0, 0);
    unfinished.truncate(44);
    assert_refused(&workshop.write("a.wav", &unfinished), &Refusal::Empty);
}
