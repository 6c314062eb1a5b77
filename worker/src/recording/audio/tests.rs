//! Real telephony recordings, made with sox and ffmpeg from the prompts of the Debian package
//! asterisk-core-sounds-en-wav, and judged against ffprobe.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::*;

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

/// What ffprobe says: codec, sample rate, channels and duration.
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

/// Proves a file and holds the facts against ffprobe's.
#[track_caller]
fn assert_proved(path: &Path, media_type: &str, codec: &str, verification: Verification) -> Facts {
    let facts = prove(path).unwrap_or_else(|failure| panic!("{}: {failure}", path.display()));
    let (probed_codec, sample_rate, channels, duration) = probed(path);
    assert_eq!(facts.codec, codec, "{}", path.display());
    assert_eq!(facts.codec, probed_codec, "{}", path.display());
    assert_eq!((facts.media_type, facts.verification), (media_type, verification), "{}", path.display());
    assert_eq!((facts.sample_rate, facts.channels), (sample_rate, channels), "{}", path.display());
    let off = (facts.duration_seconds - duration).abs();
    assert!(off <= 0.020, "{}: {} against {duration}", path.display(), facts.duration_seconds);
    assert_eq!(facts.waveform.is_some(), verification == Verification::Decoded, "{}", path.display());
    if let Some(waveform) = &facts.waveform {
        assert_eq!(waveform.channels.len(), usize::from(channels));
        let loudest = waveform.channels.iter().flatten().map(|piece| piece.1).max().unwrap();
        assert!((2_000..=i16::MAX).contains(&loudest), "{}: {loudest}", path.display());
    }
    facts
}

#[track_caller]
fn assert_refused(path: &Path, reason: Reason) {
    match prove(path) {
        Ok(facts) => panic!("{} passed as {facts:?}", path.display()),
        Err(failure) => assert_eq!(failure.reason, reason, "{}: {failure}", path.display()),
    }
}

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
        assert_proved(&path, "audio/wav", codec, Verification::Decoded);
    }
}

#[test]
fn wav_of_codecs_that_are_not_decoded_here_is_walked() {
    let workshop = Workshop::new();
    for (codec, command) in
        [("gsm_ms", "sox IN -e gsm-full-rate OUT"), ("adpcm_g726", "ffmpeg -v error -i IN -c:a g726 OUT")]
    {
        let path = workshop.make(&format!("{codec}.wav"), command);
        assert_proved(&path, "audio/wav", codec, Verification::HeaderOnly);
    }
}

#[test]
fn names_mean_nothing() {
    let workshop = Workshop::new();
    let wav = workshop.make("a.wav", "sox SHORT OUT");
    let renamed = workshop.path("a.mp3");
    std::fs::rename(wav, &renamed).unwrap();
    assert_eq!(prove(&renamed).unwrap().media_type, "audio/wav");
}

/// The bytes of a WAV file of one second, whose data begin at 44.
fn second() -> Vec<u8> {
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
fn sizes_that_were_never_filled_in_go_to_the_end() {
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
        let facts = prove(&path).unwrap_or_else(|failure| panic!("{riff:x} {data:x}: {failure}"));
        assert!((facts.duration_seconds - 1.0).abs() < 1e-9, "{riff:x} {data:x}");
    }
    let streamed = workshop.path("streamed.wav");
    let script = format!("sox {PROMPTS}/demo-congrats.wav -t wav - | cat > {}", streamed.display());
    run(&["sh".to_owned(), "-c".to_owned(), script]);
    assert!((prove(&streamed).unwrap().duration_seconds - 30.277).abs() < 0.02);
}

#[test]
fn a_header_that_promises_more_than_there_is_means_truncated() {
    let workshop = Workshop::new();
    let whole = second();
    for length in [4, 8, 11, 12, 20, 30, 43, 44, 45, 8_000, whole.len() - 1] {
        assert_refused(&workshop.write("a.wav", &whole[..length]), Reason::Truncated);
    }
    let mut trailing = whole.clone();
    trailing.extend_from_slice(b"LIST\x04\0\0\0INFO and more");
    let facts = prove(&workshop.write("a.wav", &trailing)).unwrap();
    assert!((facts.duration_seconds - 1.0).abs() < 1e-9, "what follows the samples is not sound");
}

#[test]
fn a_header_without_sound_is_empty() {
    let workshop = Workshop::new();
    let mut bytes = with_sizes(36, 0);
    bytes.truncate(44);
    assert_refused(&workshop.write("a.wav", &bytes), Reason::Empty);
    bytes.extend_from_slice(b"LIST\x04\0\0\0INFO");
    bytes[4..8].copy_from_slice(&48_u32.to_le_bytes());
    assert_refused(&workshop.write("a.wav", &bytes), Reason::Empty);
    let mut unfinished = with_sizes(0, 0);
    unfinished.truncate(44);
    assert_refused(&workshop.write("a.wav", &unfinished), Reason::Empty);
}

#[test]
fn what_is_no_audio_is_refused_whatever_it_claims() {
    let workshop = Workshop::new();
    let random: Vec<u8> = (0..100_000).map(|_| fastrand::u8(..)).collect();
    for bytes in [
        &b""[..],
        b"<!DOCTYPE html><html><body>Sign in</body></html>",
        b"\xef\xbb\xbf\n <html>",
        b"{\"error\":\"not ready\"}",
        b"RIFF\x10\0\0\0AVI LIST",
        b"RIFF\x04\0\0\0WAVE",
        b"\x89PNG\r\n\x1a\n",
        b"PK\x03\x04",
        &[0; 10_000],
        &[0xff; 100],
        &random,
    ] {
        assert_refused(&workshop.write("call.wav", bytes), Reason::NotAudio);
    }
    let named = |bytes: &[u8]| prove(&workshop.write("a.wav", bytes)).unwrap_err().detail;
    assert!(named(b" \n<html>").contains("web page"));
    let mut silly = second();
    silly[22..24].copy_from_slice(&9999_u16.to_le_bytes());
    assert_refused(&workshop.write("a.wav", &silly), Reason::NotAudio);
    silly[22..24].copy_from_slice(&0_u16.to_le_bytes());
    assert_refused(&workshop.write("a.wav", &silly), Reason::NotAudio);
    let mut rateless = second();
    rateless[24..28].fill(0);
    assert_refused(&workshop.write("a.wav", &rateless), Reason::NotAudio);
    let mut unknown = second();
    unknown[20..22].copy_from_slice(&0x1234_u16.to_le_bytes());
    assert_refused(&workshop.write("a.wav", &unknown), Reason::NotAudio);
}

#[test]
fn a_missing_file_is_storage() {
    assert_refused(Path::new("/nonexistent"), Reason::Storage);
}
