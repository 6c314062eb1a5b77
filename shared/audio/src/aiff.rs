//! AIFF and AIFF-C: walks the chunks, then the samples.
//!
//! As in WAV, the size of the samples may be a little off, or may never have been filled in.

use std::borrow::Cow;

use callvine_domain::recording::Verification;

use crate::input::Input;
use crate::pcm::Pcm;
use crate::{Ending, Facts, Listener, Refusal, Shape, samples, seconds};

/// Most chunks of one file. Tools write a dozen.
const CHUNKS_MAX: usize = 1024;

/// Sizes from here on mean that the size is not known, where the file is smaller: sox puts 0x7F000000 there, beside the bytes
/// of headers, and others 0xFFFFFFFF.
const OPEN_SIZE_MIN: u64 = 0x7f00_0000;

/// Bytes of `SSND` before the samples.
const SOUND_HEADER_BYTES: u64 = 8;

/// Bytes of one block of a channel of `ima4`, and the samples in it.
const IMA_BLOCK_BYTES: u64 = 34;
/// See [`IMA_BLOCK_BYTES`].
const IMA_BLOCK_SAMPLES: u64 = 64;

/// The chunk `COMM`.
#[derive(Clone, Copy, Debug)]
struct Format {
    shape: Shape,
    codec: Codec,
}

#[derive(Clone, Copy, Debug)]
enum Codec {
    Plain(Pcm),
    /// IMA ADPCM in blocks as `QuickTime` has them.
    Ima,
}

/// The chunk `SSND`.
#[derive(Clone, Copy, Debug)]
struct Sound {
    start: u64,
    bytes: u64,
    ending: Ending,
}

pub(crate) fn read(input: &mut Input, listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    let (Format { shape, codec }, Sound { start, bytes, ending }) = read_header(input)?;
    input.seek(start)?;
    let facts = match codec {
        Codec::Plain(pcm) => samples::read(input, shape, pcm, bytes, listener)?,
        Codec::Ima => walked(shape, bytes)?,
    };
    Ok(Facts { media_type: "audio/aiff", ending, ..facts })
}

/// Walks the chunks, which come in any order, until format and samples are found.
fn read_header(input: &mut Input) -> Result<(Format, Sound), Refusal> {
    let Some([_, _, _, _, size @ .., _, _, _, kind]) = input.read::<12>()? else {
        return Err(Refusal::Truncated);
    };
    let form_bytes = u64::from(u32::from_be_bytes(size));
    let is_finished = form_bytes < OPEN_SIZE_MIN && form_bytes + 8 >= input.length_bytes();
    let (mut format, mut sound) = (None, None);
    for _ in 0..CHUNKS_MAX {
        if let (Some(format), Some(sound)) = (format, sound) {
            return Ok((format, sound));
        }
        let Some([id @ .., s0, s1, s2, s3]) = input.read::<8>()? else {
            // A file as long as its header says was meant to be so.
            let is_whole = (4..OPEN_SIZE_MIN).contains(&form_bytes) && form_bytes + 8 <= input.length_bytes();
            return Err(match (is_whole, sound) {
                (false, _) => Refusal::Truncated,
                (true, None) => Refusal::not_audio("the recording is an AIFF file without samples"),
                (true, Some(_)) => Refusal::not_audio("the recording is an AIFF file without a format"),
            });
        };
        let bytes = u64::from(u32::from_be_bytes([s0, s1, s2, s3]));
        let next = input.position() + bytes + bytes % 2;
        match &id {
            b"COMM" => format = Some(read_format(input, kind == b'C')?),
            b"SSND" => sound = Some(read_sound(input, bytes, is_finished)?),
            _ => {}
        }
        input.seek(next)?;
    }
    Err(Refusal::not_audio("the recording is an AIFF file of nothing but other chunks"))
}

fn read_sound(input: &mut Input, chunk_bytes: u64, is_finished: bool) -> Result<Sound, Refusal> {
    let Some([o0, o1, o2, o3, ..]) = input.read::<8>()? else { return Err(Refusal::Truncated) };
    let start = input.position() + u64::from(u32::from_be_bytes([o0, o1, o2, o3]));
    let Some(left) = input.length_bytes().checked_sub(start) else { return Err(Refusal::Truncated) };
    let before_samples = SOUND_HEADER_BYTES + (start - input.position());
    let promised = chunk_bytes.saturating_sub(before_samples);
    let is_never_filled_in = promised == 0 && !is_finished;
    let (bytes, ending) = if is_never_filled_in || (promised >= OPEN_SIZE_MIN && promised > left) {
        (left, Ending::Open)
    } else {
        samples::promised(promised, left, start)?
    };
    Ok(Sound { start, bytes, ending })
}

fn read_format(input: &mut Input, is_compressed: bool) -> Result<Format, Refusal> {
    let Some([c0, c1, _, _, _, _, b0, b1, rate @ ..]) = input.read::<18>()? else {
        return Err(Refusal::Truncated);
    };
    let bits = u16::from_be_bytes([b0, b1]);
    let shape = Shape::new(u16::from_be_bytes([c0, c1]), whole_number(rate))?;
    let kind = if is_compressed { input.read::<4>()?.ok_or(Refusal::Truncated)? } else { *b"NONE" };
    let codec = codec(&kind, bits).ok_or_else(|| {
        Refusal::not_audio(format!(
            "the recording is an AIFF file of an unknown codec ({})",
            kind.escape_ascii()
        ))
    })?;
    Ok(Format { shape, codec })
}

/// How the samples are written; a sample is as wide as its bits, rounded up to bytes.
fn codec(kind: &[u8; 4], bits: u16) -> Option<Codec> {
    Some(Codec::Plain(match (&kind.to_ascii_lowercase()[..], bits.div_ceil(8)) {
        (b"none" | b"twos" | b"sowt", 1) => Pcm::Signed8,
        (b"none" | b"twos", 2) => Pcm::Signed16Be,
        (b"none" | b"twos", 3) | (b"in24", _) => Pcm::Signed24Be,
        (b"none" | b"twos", 4) | (b"in32", _) => Pcm::Signed32Be,
        (b"sowt", 2) => Pcm::Signed16,
        (b"sowt", 3) | (b"42ni", _) => Pcm::Signed24,
        (b"sowt", 4) | (b"23ni", _) => Pcm::Signed32,
        (b"raw ", 1) => Pcm::Unsigned8,
        (b"fl32", _) => Pcm::Float32Be,
        (b"fl64", _) => Pcm::Float64Be,
        (b"alaw", _) => Pcm::ALaw,
        (b"ulaw", _) => Pcm::MuLaw,
        (b"ima4", _) => return Some(Codec::Ima),
        _ => return None,
    }))
}

/// The whole part of a number of 80 bits (IEEE 754, double extended), 0 where it is below 1, and `u32::MAX` where it is larger.
fn whole_number([e0, e1, mantissa @ ..]: [u8; 10]) -> u32 {
    let exponent = i32::from(u16::from_be_bytes([e0, e1])) - 16_383;
    match u32::try_from(exponent) {
        Ok(bits @ 0..32) => u32::try_from(u64::from_be_bytes(mantissa) >> (63 - bits)).unwrap_or(u32::MAX),
        Ok(_) => u32::MAX,
        Err(_) => 0,
    }
}

fn walked(shape: Shape, bytes: u64) -> Result<Facts, Refusal> {
    let frames = bytes / (IMA_BLOCK_BYTES * u64::from(shape.channels)) * IMA_BLOCK_SAMPLES;
    if frames == 0 {
        return Err(Refusal::Empty);
    }
    Ok(Facts {
        media_type: "audio/aiff",
        codec: Cow::Borrowed("adpcm_ima_qt"),
        duration_seconds: seconds(frames, shape.sample_rate),
        shape,
        verification: Verification::HeaderOnly,
        ending: Ending::Told,
    })
}
