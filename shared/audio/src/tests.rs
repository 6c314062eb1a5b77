//! Real telephony recordings, made with sox and ffmpeg from the prompts of the Debian package
//! asterisk-core-sounds-en-wav, and judged against ffprobe.

use std::mem::discriminant;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::*;

mod aiff;
mod compressed;
mod heard;
mod loose;
mod mangled;
mod matroska;
mod mp4;
mod ogg;
mod wav;
mod written_off;

const PROMPTS: &str = "/usr/share/asterisk/sounds/en_US_f_Allison";

/// Files made for one test.
struct Workshop(TempDir);

impl Workshop {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a tool on a prompt of half a minute (`IN`), a short one (`SHORT`) and the new file (`OUT`).
    fn make(&self, name: &str, command: &str) -> PathBuf {
        let out = self.path(name);
        let words = command.split(' ').map(|word| match word {
            "IN" => format!("{PROMPTS}/demo-congrats.wav"),
            "SHORT" => format!("{PROMPTS}/agent-pass.wav"),
            "OUT" => out.to_str().unwrap().to_owned(),
            word => word.to_owned(),
        });
        run(&words.collect::<Vec<_>>());
        out
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn run(words: &[String]) -> String {
    let output = Command::new(&words[0]).args(&words[1..]).output();
    let output = output.unwrap_or_else(|error| {
        panic!("cannot run {}: {error} (install sox, ffmpeg and asterisk-core-sounds-en-wav)", words[0])
    });
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The codec, sample rate, channels and duration that ffprobe finds.
fn probed(path: &Path) -> (String, u32, u16, f64) {
    let entries = "stream=codec_name,sample_rate,channels,duration:format=duration";
    let command = format!("ffprobe -v error -show_entries {entries} -of default=noprint_wrappers=1");
    let mut words: Vec<String> = command.split(' ').map(str::to_owned).collect();
    words.push(path.to_str().unwrap().to_owned());
    let output = run(&words);
    let value = |name: &str| {
        let mut found = output.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.rfind(|value| *value != "N/A").unwrap_or_default().to_owned()
    };
    (
        value("codec_name"),
        value("sample_rate").parse().unwrap(),
        value("channels").parse().unwrap(),
        value("duration").parse().unwrap(),
    )
}

/// Reads a file that nobody listens to.
fn facts_of(path: &Path) -> Result<Facts, Refusal> {
    read(path, &mut |_, _| {})
}

/// Reads a file and holds the facts against ffprobe's.
#[track_caller]
fn assert_read(path: &Path, media_type: &str, codec: &str, verification: Verification) -> Facts {
    let (mut waveform, mut heard) = (Waveform::default(), None);
    let listened = read(path, &mut |shape, samples| {
        assert!(!samples.is_empty() && samples.len().is_multiple_of(usize::from(shape.channels)));
        assert_eq!(*heard.get_or_insert(shape), shape, "there is one shape");
        waveform.hear(shape, samples);
    });
    let facts = listened.unwrap_or_else(|refusal| panic!("{}: {refusal}", path.display()));
    let (probed_codec, sample_rate, channels, duration) = probed(path);
    assert_eq!(facts.codec, codec, "{}", path.display());
    assert_eq!(facts.codec, probed_codec, "{}", path.display());
    assert_eq!((facts.media_type, facts.verification), (media_type, verification), "{}", path.display());
    assert_eq!(facts.shape, Shape { channels, sample_rate }, "{}", path.display());
    let off = (facts.duration_seconds - duration).abs();
    assert!(off <= 0.020, "{}: {} against {duration}", path.display(), facts.duration_seconds);
    let is_decoded = verification == Verification::Decoded;
    assert_eq!(heard, is_decoded.then_some(facts.shape), "{}", path.display());
    let peaks = waveform.finish();
    assert_eq!(peaks.is_some(), is_decoded, "{}", path.display());
    if let Some(peaks) = peaks {
        assert_eq!(peaks.len(), usize::from(channels));
        let loudest = peaks.iter().flatten().map(|piece| piece.1).max().unwrap();
        assert!((2_000..=i16::MAX).contains(&loudest), "{}: {loudest}", path.display());
    }
    facts
}

#[track_caller]
fn assert_refused(path: &Path, expected: &Refusal) {
    match facts_of(path) {
        Ok(facts) => panic!("{} passed as {facts:?}", path.display()),
        Err(refusal) => {
            assert_eq!(discriminant(&refusal), discriminant(expected), "{}: {refusal}", path.display());
        }
    }
}

#[test]
fn names_mean_nothing() {
    let workshop = Workshop::new();
    let wav = workshop.make("a.wav", "sox SHORT OUT");
    let renamed = workshop.path("a.mp3");
    std::fs::rename(wav, &renamed).unwrap();
    assert_eq!(facts_of(&renamed).unwrap().media_type, "audio/wav");
}

#[test]
fn bytes_that_are_no_audio_are_refused_whatever_they_claim() {
    let workshop = Workshop::new();
    let random: Vec<u8> = (0..100_000).map(|_| fastrand::u8(..)).collect();
    for bytes in [
        &b""[..],
        b"RIFF\x10\0\0\0AVI LIST",
        b"RIFF\x04\0\0\0WAVE",
        b"\x89PNG\r\n\x1a\n",
        b"PK\x03\x04",
        &[0; 10_000],
        &[0xff; 100],
        &random,
    ] {
        assert_refused(&workshop.write("call.wav", bytes), &Refusal::not_audio(""));
    }
    let mut silly = wav::second();
    silly[22..24].copy_from_slice(&9999_u16.to_le_bytes());
    assert_refused(&workshop.write("a.wav", &silly), &Refusal::not_audio(""));
    silly[22..24].copy_from_slice(&0_u16.to_le_bytes());
    assert_refused(&workshop.write("a.wav", &silly), &Refusal::not_audio(""));
    let mut rateless = wav::second();
    rateless[24..28].fill(0);
    assert_refused(&workshop.write("a.wav", &rateless), &Refusal::not_audio(""));
    let mut unknown = wav::second();
    unknown[20..22].copy_from_slice(&0x1234_u16.to_le_bytes());
    assert_refused(&workshop.write("a.wav", &unknown), &Refusal::not_audio(""));
}

#[test]
fn a_missing_file_is_unreadable() {
    assert!(matches!(facts_of(Path::new("/nonexistent")), Err(Refusal::Unreadable(_))));
}

#[test]
fn a_file_that_makes_its_decoder_panic_is_no_audio() {
    let refusal = contained(|| panic!("as a decoder does")).unwrap_err();
    assert!(matches!(refusal, Refusal::NotAudio(_)), "{refusal}");
}
