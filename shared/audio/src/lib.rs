//! Proves that bytes are audio, and says which: by their content, never by a name or a `Content-Type`.
//!
//! Blocking, and bounded: one pass over the file in small blocks. Nothing here plays, converts or keeps samples; the
//! [`Waveform`] is what is left of them.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use callvine_domain::recording::Verification;

mod adpcm;
mod amr;
mod decode;
mod input;
mod mp3;
mod mp4;
mod ogg;
mod pcm;
mod refusal;
mod wav;
mod waveform;

use decode::Container;
use input::Input;
pub use refusal::Refusal;
pub use waveform::{WAVEFORM_BUCKETS, Waveform};

/// Most channels of a recording. Telephony has one or two, a conference recorder a few more; a header that claims
/// thousands is not audio.
const CHANNELS_MAX: u16 = 32;

/// Highest sample rate: twice that of any converter made.
const SAMPLE_RATE_MAX: u32 = 768_000;

/// What a recording is.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Such as `audio/wav`.
    pub media_type: &'static str,
    /// As ffprobe calls it, such as `pcm_alaw`.
    pub codec: Cow<'static, str>,
    /// Above zero.
    pub duration_seconds: f64,
    /// From 1 to 32.
    pub channels: u16,
    /// In hertz, above zero.
    pub sample_rate: u32,
    /// How far the proof goes.
    pub verification: Verification,
    /// The shape of the sound, where it was decoded.
    pub waveform: Option<Waveform>,
}

/// What is decoded leaves a waveform.
const fn verification(waveform: Option<&Waveform>) -> Verification {
    if waveform.is_some() { Verification::Decoded } else { Verification::HeaderOnly }
}

/// Proves that the file at `path` is audio. Blocks; call it where blocking is allowed.
///
/// # Errors
/// [`Refusal::NotAudio`], [`Refusal::Truncated`] where its header promises more than there is, [`Refusal::Empty`] where
/// it has no samples, [`Refusal::Unreadable`] where it can't be read.
pub fn prove(path: &Path) -> Result<Facts, Refusal> {
    let mut input = Input::open(path)?;
    contained(|| prove_input(&mut input))
}

/// Decoders of other people's making have panicked on hostile bytes before. Nothing of theirs outlives the proof.
fn contained(prove: impl FnOnce() -> Result<Facts, Refusal>) -> Result<Facts, Refusal> {
    catch_unwind(AssertUnwindSafe(prove))
        .unwrap_or_else(|_| Err(Refusal::not_audio("the recording breaks its decoder")))
}

fn prove_input(input: &mut Input) -> Result<Facts, Refusal> {
    let start = input.start()?;
    let mark = |at: usize| start.get(at..at + 4).unwrap_or_default();
    match (mark(0), mark(4), mark(8)) {
        (b"RIFF" | b"RF64" | b"BW64", _, b"WAVE") => wav::prove(input),
        (b"FORM", _, b"AIFF" | b"AIFC") => decode::prove(input, Container::Aiff),
        (b"fLaC", ..) => decode::prove(input, Container::Flac),
        (b"OggS", ..) => ogg::prove(input),
        (_, b"ftyp", _) => mp4::prove(input),
        (b"#!AM", ..) if amr::Kind::of(&start).is_some() => amr::prove(input, &start),
        ([b'I', b'D', b'3', _] | [0xff, 0xe0..=0xff, ..], ..) => mp3::prove(input, &start),
        (b"RIFF" | b"FORM", _, b"") => Err(Refusal::Truncated),
        _ => Err(Refusal::not_audio(format!("the recording is {}", looks_like(&start)))),
    }
}

/// What bytes that are no audio seem to be, for people.
fn looks_like(start: &[u8]) -> &'static str {
    let text = start.trim_ascii_start().strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let begins = |name: &[u8]| text.get(..name.len()).is_some_and(|text| text.eq_ignore_ascii_case(name));
    if begins(b"<!doctype html") || begins(b"<html") {
        "a web page, perhaps one to sign in"
    } else if begins(b"<") {
        "XML or HTML, perhaps an error"
    } else if begins(b"{") || begins(b"[") {
        "JSON, perhaps an error"
    } else if begins(b"PK\x03\x04") || begins(b"\x1f\x8b") || begins(b"Rar!") || begins(b"7z\xbc\xaf") {
        "an archive"
    } else if begins(b"\x89PNG") || begins(b"\xff\xd8\xff") || begins(b"GIF8") {
        "an image"
    } else if begins(b"%PDF") {
        "a PDF"
    } else {
        "of no audio format that is known here"
    }
}

/// Checks what every header says.
fn check_shape(channels: u16, sample_rate: u32) -> Result<(), Refusal> {
    if !(1..=CHANNELS_MAX).contains(&channels) {
        return Err(Refusal::not_audio(format!("the recording's header says {channels} channels")));
    }
    if !(1..=SAMPLE_RATE_MAX).contains(&sample_rate) {
        return Err(Refusal::not_audio(format!(
            "the recording's header says {sample_rate} samples a second"
        )));
    }
    Ok(())
}

/// The time that so many frames take, in seconds.
#[expect(clippy::cast_precision_loss, reason = "2^53 frames are 5,000 years")]
fn seconds(frames: u64, sample_rate: u32) -> f64 {
    frames as f64 / f64::from(sample_rate)
}

#[cfg(test)]
mod tests;
