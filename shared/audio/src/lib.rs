//! Reads recordings: proves that a file is audio by its content, never by its name or a `Content-Type`, says which audio
//! it is, and hands the samples to a listener.
//!
//! [`read`] is everything: one pass over the file in small blocks, which keeps no samples. It blocks its thread.
//! [`Waveform`] is a listener.

use std::borrow::Cow;
use std::fs::File;
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
pub use waveform::Waveform;

/// Most channels of a recording. Telephony has one or two, a conference recorder a few more; a header that claims
/// thousands is not audio.
const CHANNELS_MAX: u16 = 32;

/// Highest sample rate: twice that of any converter made.
const SAMPLE_RATE_MAX: u32 = 768_000;

/// The facts of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Such as `audio/wav`.
    pub media_type: &'static str,
    /// As ffprobe calls it, such as `pcm_alaw`.
    pub codec: Cow<'static, str>,
    /// Above zero.
    pub duration_seconds: f64,
    /// Channels and sample rate.
    pub shape: Shape,
    /// How far the proof goes. Unless it is [`Verification::Decoded`], listeners have heard a part of the samples or none.
    pub verification: Verification,
}

/// The channels and the sample rate of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// From 1 to 32.
    pub channels: u16,
    /// In hertz, from 1 to 768,000.
    pub sample_rate: u32,
}

impl Shape {
    /// A shape that a header or a decoder claims.
    fn new(channels: u16, sample_rate: u32) -> Result<Self, Refusal> {
        if !(1..=CHANNELS_MAX).contains(&channels) {
            return Err(Refusal::not_audio(format!("the recording's header says {channels} channels")));
        }
        if !(1..=SAMPLE_RATE_MAX).contains(&sample_rate) {
            return Err(Refusal::not_audio(format!(
                "the recording's header says {sample_rate} samples a second"
            )));
        }
        Ok(Self { channels, sample_rate })
    }
}

/// Hears a recording while it is read: block by block, in order, each of one or more whole frames of interleaved 16-bit
/// samples. Every block of one recording comes with the same shape.
///
/// A closure may pass each block on to several listeners, so that all of them hear it in one pass. It must not panic: a
/// panic counts as a decoder's and refuses the recording.
pub type Listener<'a> = dyn FnMut(Shape, &[i16]) + 'a;

/// Reads the file at `path`, and hands its samples to `listener` where their codec can be decoded. Decoding takes a minute
/// of time at most; then the rest of the file is walked without it.
///
/// # Errors
/// [`Refusal`]. The listener may have heard a part of the samples before it.
pub fn read(path: &Path, listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    read_file(File::open(path).map_err(Refusal::Unreadable)?, listener)
}

/// As [`read`], with a file that is open already, wherever its position is.
///
/// # Errors
/// As with [`read`].
pub fn read_file(file: File, listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    let mut input = Input::new(file)?;
    contained(|| read_input(&mut input, listener))
}

/// Turns a panic into a refusal: hostile bytes have made other people's decoders panic before.
fn contained(read: impl FnOnce() -> Result<Facts, Refusal>) -> Result<Facts, Refusal> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(Refusal::not_audio("the recording breaks its decoder")))
}

fn read_input(input: &mut Input, listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    let start = input.start()?;
    let mark = |at: usize| start.get(at..at + 4).unwrap_or_default();
    match (mark(0), mark(4), mark(8)) {
        (b"RIFF" | b"RF64" | b"BW64", _, b"WAVE") => wav::read(input, listener),
        (b"FORM", _, b"AIFF" | b"AIFC") => decode::read(input, Container::Aiff, listener),
        (b"fLaC", ..) => decode::read(input, Container::Flac, listener),
        (b"OggS", ..) => ogg::read(input, listener),
        (_, b"ftyp", _) => mp4::read(input, listener),
        (b"#!AM", ..) if amr::Kind::of(&start).is_some() => amr::walk(input, &start),
        ([b'I', b'D', b'3', _] | [0xff, 0xe0..=0xff, ..], ..) => mp3::read(input, &start, listener),
        (b"RIFF" | b"FORM", _, b"") => Err(Refusal::Truncated),
        _ => Err(Refusal::not_audio(format!("the recording is {}", looks_like(&start)))),
    }
}

/// Names for people the kind of file that bytes which are no audio begin.
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

/// The time that so many frames take, in seconds.
#[expect(clippy::cast_precision_loss, reason = "2^53 frames are 5,000 years")]
fn seconds(frames: u64, sample_rate: u32) -> f64 {
    frames as f64 / f64::from(sample_rate)
}

#[cfg(test)]
mod tests;
