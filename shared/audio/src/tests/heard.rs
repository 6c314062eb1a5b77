//! The samples that listeners hear, held against those that ffmpeg decodes.

use super::*;

/// Reads a file; gives its facts and every sample that a listener heard.
fn heard(path: &Path) -> (Facts, Vec<i16>) {
    let mut all = Vec::new();
    let facts = read(path, &mut |_, samples| all.extend_from_slice(samples)).unwrap();
    (facts, all)
}

fn decoded_by_ffmpeg(workshop: &Workshop, path: &Path) -> Vec<i16> {
    let raw = workshop.path("raw");
    let command = ["ffmpeg", "-v", "error", "-y", "-i", path.to_str().unwrap(), "-f", "s16le"];
    let words = command.into_iter().chain([raw.to_str().unwrap()]).map(str::to_owned);
    run(&words.collect::<Vec<_>>());
    std::fs::read(raw).unwrap().as_chunks().0.iter().map(|&pair| i16::from_le_bytes(pair)).collect()
}

#[test]
fn every_sample_is_heard_in_order() {
    let workshop = Workshop::new();
    // The last number is how far a sample may be off: by one where ffmpeg rounds and this crate cuts off.
    for (name, command, off) in [
        ("a.wav", "sox IN OUT", 0),
        ("b.wav", "sox IN -b 8 OUT", 0),
        ("c.wav", "sox IN -e a-law OUT", 0),
        ("d.wav", "sox -M IN SHORT -e mu-law OUT", 0),
        ("e.wav", "sox -M IN SHORT SHORT OUT", 0),
        ("f.wav", "sox IN -b 24 OUT", 1),
        ("g.wav", "sox IN -e floating-point -b 32 OUT", 1),
        ("h.wav", "sox IN -e ima-adpcm OUT", 0),
        ("i.wav", "sox -M IN SHORT -e ms-adpcm OUT", 0),
        ("a.flac", "sox -M IN SHORT OUT", 0),
        ("a.aiff", "sox IN OUT", 0),
    ] {
        let path = workshop.make(name, command);
        let (facts, samples) = heard(&path);
        let expected = decoded_by_ffmpeg(&workshop, &path);
        assert_eq!(facts.verification, Verification::Decoded, "{command}");
        assert_eq!(samples.len(), expected.len(), "{command}");
        let worst = samples.iter().zip(&expected).map(|(one, other)| one.abs_diff(*other)).max().unwrap();
        assert!(worst <= off, "{command}: off by {worst}");
    }
}

#[test]
fn several_listeners_hear_the_same_in_one_pass() {
    let workshop = Workshop::new();
    let path = workshop.make("a.wav", "sox -M IN SHORT -e a-law OUT");
    let (mut waveform, mut frames, mut all) = (Waveform::default(), 0, Vec::new());
    let facts = read(&path, &mut |shape, samples| {
        waveform.hear(shape, samples);
        frames += samples.len() / usize::from(shape.channels);
        all.extend_from_slice(samples);
    });
    let facts = facts.unwrap();
    assert_eq!(facts.shape, Shape { channels: 2, sample_rate: 8_000 });
    assert_eq!(frames as f64 / 8_000.0, facts.duration_seconds);
    let mut at_once = Waveform::default();
    at_once.hear(facts.shape, &all);
    assert_eq!(waveform.finish(), at_once.finish());
}

#[test]
fn a_listener_that_panics_refuses_the_recording() {
    let workshop = Workshop::new();
    let path = workshop.make("a.wav", "sox SHORT OUT");
    let refusal = read(&path, &mut |_, _| panic!("as a listener must not")).unwrap_err();
    assert!(matches!(refusal, Refusal::NotAudio(_)), "{refusal}");
}
