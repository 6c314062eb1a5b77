//! Reads recordings: proves that a file is audio by its content, never by its name or a `Content-Type`, says which audio
//! it is, and hands the samples to a listener.
//!
//! [`read`] is everything: one pass over the file in small blocks, which keeps no samples. It blocks its thread.
//! [`Waveform`] is a listener, and so is [`signal::Signal`], which analyses.

use std::borrow::Cow;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use callvine_domain::recording::Verification;

mod adpcm;
mod aiff;
mod amr;
mod au;
mod decode;
mod elsewhere;
mod flac;
mod gsm;
mod input;
mod matroska;
mod mp3;
mod mp4;
mod ogg;
mod opus;
mod pcm;
mod refusal;
mod samples;
pub mod signal;
mod wav;
mod waveform;

use input::Input;
pub use refusal::Refusal;
pub use waveform::Waveform;

/// Most channels of a recording. Telephony has one or two, a conference recorder a few more; a header that claims
/// thousands is not audio.
const CHANNELS_MAX: u16 = 32;

/// Highest sample rate: twice that of any converter made.
const SAMPLE_RATE_MAX: u32 = 768_000;

/// Longest recording, in seconds: a week. A call takes hours at most; days are a recorder that nobody stopped.
const DURATION_SECONDS_MAX: f64 = 7.0 * 24.0 * 60.0 * 60.0;

/// Longest text that counts as a host's word about a recording: pages to sign in take tens of kilobytes.
const TEXT_BYTES_MAX: u64 = 256 * 1024;

/// The facts of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Such as `audio/wav`.
    pub media_type: &'static str,
    /// As ffprobe calls it, such as `pcm_alaw`.
    pub codec: Cow<'static, str>,
    /// Above zero, and a week at most.
    pub duration_seconds: f64,
    /// Channels and sample rate.
    pub shape: Shape,
    /// How far the proof goes. Unless it is [`Verification::Decoded`], listeners have heard a part of the samples or none.
    pub verification: Verification,
    /// Whether this is all of it, as far as the file tells.
    pub ending: Ending,
}

/// The end of a file, held against the sizes that its header gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is where the header says, or the format has no header that says it.
    Told,
    /// A few bytes early, no more than a header has: some recorders count it. The file is whole where the transfer was.
    Short,
    /// The header leaves the size open: whoever writes the file may not be done.
    Open,
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
    let facts = read_format(input, listener)?;
    if !(0.0..=DURATION_SECONDS_MAX).contains(&facts.duration_seconds) {
        return Err(Refusal::not_audio("the recording claims to last for weeks"));
    }
    Ok(facts)
}

fn read_format(input: &mut Input, listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    let start = input.start()?;
    let mark = |at: usize| start.get(at..at + 4).unwrap_or_default();
    match (mark(0), mark(4), mark(8)) {
        (b"RIFF" | b"RF64" | b"BW64", _, b"WAVE") => wav::read(input, listener),
        (b"FORM", _, b"AIFF" | b"AIFC") => aiff::read(input, listener),
        (flac::MAGIC, ..) => flac::read(input, 0, listener),
        (b"OggS", ..) => ogg::read(input, listener),
        (b".snd", ..) => au::read(input, listener),
        (matroska::MAGIC, ..) => matroska::read(input, listener),
        // QuickTime of old begins without a type.
        (_, b"ftyp" | b"moov" | b"mdat" | b"wide" | b"skip" | b"free", _) => mp4::read(input, listener),
        (b"#!AM", ..) if amr::Kind::of(&start).is_some() => amr::walk(input, &start),
        (b"RIFF" | b"FORM", _, b"") => Err(Refusal::Truncated),
        _ => read_unmarked(input, &start, listener),
    }
}

/// Reads formats that have no mark of their own at the start.
fn read_unmarked(input: &mut Input, start: &[u8], listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    if let Some(kind) = elsewhere::named(start) {
        return Err(Refusal::not_audio(format!("the recording is {kind}")));
    }
    if let Some(kind) = elsewhere::text(start) {
        let detail = format!("the recording is {kind}");
        return Err(if input.length_bytes() <= TEXT_BYTES_MAX {
            Refusal::Text(detail.into())
        } else {
            Refusal::not_audio(detail)
        });
    }
    if gsm::begins(input)? {
        return gsm::walk(input);
    }
    mp3::read(input, start, listener)
}

/// The time that so many frames take, in seconds.
#[expect(clippy::cast_precision_loss, reason = "2^53 frames are 5,000 years")]
fn seconds(frames: u64, sample_rate: u32) -> f64 {
    frames as f64 / f64::from(sample_rate)
}

#[cfg(test)]
mod tests;
