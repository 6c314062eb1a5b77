//! RIFF WAVE, and its 64-bit siblings RF64 and BW64: walks the chunks, then the samples.
//!
//! Recorders write these files while the call goes on, so a size may never have been filled in: such data goes to the end of
//! the file, and the ending is open. A file that is shorter than a size that was filled in is truncated, unless what it
//! lacks is no more than its header: some recorders count that too.

use crate::decode::{self, Container};
use crate::input::Input;
use crate::pcm::Pcm;
use crate::{Ending, Facts, Listener, Refusal, Shape, mp3, samples, seconds};

mod blocks;

/// Most chunks before the samples. Recorders write a handful; a file of millions would take for ever.
const CHUNKS_MAX: usize = 1024;

/// Sizes from here on mean that the size is not known, where the file is smaller. Writers that can't go back put them there:
/// 0xFFFFFFFF, 0x7FFFFFFF, either less the header, or 0x7FFFF000 (sox).
const OPEN_SIZE_MIN: u64 = 0x7fff_0000;

/// Bytes of `fmt ` that matter: WAVEFORMATEXTENSIBLE, or the coefficients of MS ADPCM.
const FORMAT_BYTES_MAX: u64 = 512;

/// The chunk `fmt `.
#[derive(Clone, Debug)]
struct Format {
    tag: u16,
    channels: u16,
    sample_rate: u32,
    bytes_per_second: u32,
    block_bytes: u16,
    bits: u16,
}

/// The chunk `data`.
#[derive(Clone, Debug)]
struct Data {
    start: u64,
    bytes: u64,
    ending: Ending,
    /// Samples of each channel by the chunk `fact`, which formats have whose bytes don't tell.
    frames_declared: Option<u64>,
}

pub(crate) fn read(input: &mut Input, listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    let (format, data) = read_header(input)?;
    let shape = Shape::new(format.channels, format.sample_rate)?;
    input.seek(data.start)?;
    let facts = match (pcm(&format), format.tag) {
        (Some(pcm), _) => samples::read(input, shape, pcm, data.bytes, listener),
        (None, 0x50 | 0x55) => read_mpeg(input, &data, listener),
        (None, _) => blocks::read(input, shape, &format, &data, listener),
    }?;
    Ok(Facts { media_type: "audio/wav", ending: data.ending, ..facts })
}

/// Reads MPEG audio in a WAV file: its own frames describe it.
fn read_mpeg(input: &mut Input, data: &Data, listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    let sound = decode::run(input.section(data.start, data.bytes)?, Container::Mp3, listener)?;
    let mut facts = sound.facts;
    let padded = mp3::frames_padded(sound.packets, &facts);
    let declared = data.frames_declared.filter(|frames| (1..=padded).contains(frames));
    facts.duration_seconds = seconds(declared.unwrap_or(padded), facts.shape.sample_rate);
    Ok(facts)
}

/// Walks the chunks up to the samples.
fn read_header(input: &mut Input) -> Result<(Format, Data), Refusal> {
    let Some([_, _, _, _, size @ .., _, _, _, _]) = input.read::<12>()? else {
        return Err(Refusal::Truncated);
    };
    let riff_bytes = u64::from(u32::from_le_bytes(size));
    let (mut format, mut frames_declared, mut data_bytes_64) = (None, None, None);
    for _ in 0..CHUNKS_MAX {
        let Some([id @ .., s0, s1, s2, s3]) = input.read::<8>()? else {
            // A file as long as its header says was meant to have no samples.
            let whole = (4..OPEN_SIZE_MIN).contains(&riff_bytes) && riff_bytes + 8 <= input.length_bytes();
            return Err(if whole {
                Refusal::not_audio("the recording is a WAV file without samples")
            } else {
                Refusal::Truncated
            });
        };
        let bytes = u64::from(u32::from_le_bytes([s0, s1, s2, s3]));
        let start = input.position();
        match &id {
            b"fmt " => format = Some(read_format(input, bytes)?),
            b"fact" => frames_declared = input.read::<4>()?.map(|count| u64::from(u32::from_le_bytes(count))),
            b"ds64" => {
                data_bytes_64 = input
                    .read::<16>()?
                    .map(|[.., a, b, c, d, e, f, g, h]| u64::from_le_bytes([a, b, c, d, e, f, g, h]))
            }
            b"data" => {
                let format = format
                    .ok_or_else(|| Refusal::not_audio("the recording is a WAV file without a format"))?;
                let bytes = data_bytes_64.filter(|_| bytes == u64::from(u32::MAX)).unwrap_or(bytes);
                let (bytes, ending) = data_bytes(bytes, riff_bytes, input)?;
                return Ok((format, Data { start, bytes, ending, frames_declared }));
            }
            _ => {}
        }
        // Chunks begin at even offsets.
        input.seek(start + bytes + bytes % 2)?;
    }
    Err(Refusal::not_audio("the recording is a WAV file of nothing but other chunks"))
}

/// Bytes of samples at this position, of as many as the header promises.
fn data_bytes(promised: u64, riff_bytes: u64, input: &Input) -> Result<(u64, Ending), Refusal> {
    let left = input.left_bytes();
    // A size of zero is meant as such where the size of the whole file was filled in.
    let finished = riff_bytes < OPEN_SIZE_MIN && riff_bytes + 8 >= input.length_bytes();
    let never_filled_in = promised == 0 && !finished;
    // A size of 64 bits that is larger than any of 32 was filled in.
    let placeholder = (OPEN_SIZE_MIN..=u64::from(u32::MAX)).contains(&promised) || promised == u64::MAX;
    if never_filled_in || (placeholder && promised > left) {
        return Ok((left, Ending::Open));
    }
    samples::promised(promised, left, input.position())
}

fn read_format(input: &mut Input, bytes: u64) -> Result<Format, Refusal> {
    let mut chunk = vec![0; usize::try_from(bytes.min(FORMAT_BYTES_MAX)).unwrap_or(0)];
    if !input.fill(&mut chunk)? {
        return Err(Refusal::Truncated);
    }
    let Some((head, extra)) = chunk.split_first_chunk::<16>() else {
        return Err(Refusal::not_audio("the recording is a WAV file with half a format"));
    };
    let &[t0, t1, c0, c1, r0, r1, r2, r3, b0, b1, b2, b3, a0, a1, w0, w1] = head;
    let mut format = Format {
        tag: u16::from_le_bytes([t0, t1]),
        channels: u16::from_le_bytes([c0, c1]),
        sample_rate: u32::from_le_bytes([r0, r1, r2, r3]),
        bytes_per_second: u32::from_le_bytes([b0, b1, b2, b3]),
        block_bytes: u16::from_le_bytes([a0, a1]),
        bits: u16::from_le_bytes([w0, w1]),
    };
    // WAVEFORMATEXTENSIBLE: the real tag is the beginning of the subformat's GUID.
    if let (0xfffe, [_, _, _, _, _, _, _, _, t0, t1, ..]) = (format.tag, extra) {
        format.tag = u16::from_le_bytes([*t0, *t1]);
    }
    Ok(format)
}

/// How the samples are written; `None` where they come in blocks or packets.
fn pcm(format: &Format) -> Option<Pcm> {
    // The bits tell how wide a sample is, rounded up to bytes. Some recorders write a block's size that contradicts them;
    // others leave the bits at zero.
    let stored_bits = match format.bits {
        0 => format.block_bytes.checked_div(format.channels)?.saturating_mul(8),
        bits => bits.div_ceil(8).saturating_mul(8),
    };
    match (format.tag, stored_bits) {
        (1, 8) => Some(Pcm::Unsigned8),
        (1, 16) => Some(Pcm::Signed16),
        (1, 24) => Some(Pcm::Signed24),
        (1, 32) => Some(Pcm::Signed32),
        (3, 32) => Some(Pcm::Float32),
        (3, 64) => Some(Pcm::Float64),
        (6, _) => Some(Pcm::ALaw),
        (7, _) => Some(Pcm::MuLaw),
        _ => None,
    }
}
