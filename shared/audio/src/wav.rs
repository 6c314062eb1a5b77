//! RIFF WAVE, and its 64-bit siblings RF64 and BW64: walks the chunks, then the samples.
//!
//! Recorders write these files while the call goes on, so a size may never have been filled in: such data goes to the end of
//! the file. A file that is shorter than a size that was filled in is truncated.

use std::borrow::Cow;

use callvine_domain::recording::Verification;
use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_ADPCM_IMA_WAV, CODEC_ID_ADPCM_MS};

use crate::decode::{self, Container};
use crate::input::Input;
use crate::pcm::Pcm;
use crate::{Facts, Listener, Refusal, Shape, adpcm, mp3, seconds};

/// Most chunks before the samples. Recorders write a handful; a file of millions would take for ever.
const CHUNKS_MAX: usize = 1024;

/// Sizes from here on mean that the size is not known, where the file is smaller. Writers that can't go back put them there:
/// 0xFFFFFFFF, 0x7FFFFFFF, either less the header, or 0x7FFFF000 (sox).
const OPEN_SIZE_MIN: u64 = 0x7fff_0000;

/// Bytes decoded in one go.
const BLOCK_BYTES: usize = 64 * 1024;

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
    /// Samples of each channel by the chunk `fact`, which formats have whose bytes don't tell.
    frames_declared: Option<u64>,
}

pub(crate) fn read(input: &mut Input, listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    let (format, data) = read_header(input)?;
    let shape = Shape::new(format.channels, format.sample_rate)?;
    input.seek(data.start)?;
    match (pcm(&format), format.tag) {
        (Some(pcm), _) => read_pcm(input, shape, pcm, &data, listener),
        (None, 0x50 | 0x55) => read_mpeg(input, &data, listener),
        (None, _) => read_blocks(input, shape, &format, &data, listener),
    }
}

/// Reads MPEG audio in a WAV file: its own frames describe it.
fn read_mpeg(input: &mut Input, data: &Data, listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    let sound = decode::run(input.section(data.start, data.bytes)?, Container::Mp3, listener)?;
    let mut facts = sound.facts;
    let padded = mp3::frames_padded(sound.packets, &facts);
    let declared = data.frames_declared.filter(|frames| (1..=padded).contains(frames));
    facts.media_type = "audio/wav";
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
                let bytes = data_bytes(bytes, riff_bytes, input)?;
                return Ok((format, Data { start, bytes, frames_declared }));
            }
            _ => {}
        }
        // Chunks begin at even offsets.
        input.seek(start + bytes + bytes % 2)?;
    }
    Err(Refusal::not_audio("the recording is a WAV file of nothing but other chunks"))
}

/// Bytes of samples at this position, of as many as the header promises.
fn data_bytes(promised: u64, riff_bytes: u64, input: &Input) -> Result<u64, Refusal> {
    let left = input.left_bytes();
    // A size of zero is meant as such where the size of the whole file was filled in.
    let finished = riff_bytes < OPEN_SIZE_MIN && riff_bytes + 8 >= input.length_bytes();
    let never_filled_in = promised == 0 && !finished;
    if never_filled_in || (promised >= OPEN_SIZE_MIN && promised > left) {
        return Ok(left);
    }
    if promised > left { Err(Refusal::Truncated) } else { Ok(promised) }
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
    // The size of the block tells how wide samples are stored; the bits may be fewer, such as 20 in three bytes.
    let stored_bits = match format.block_bytes.checked_div(format.channels) {
        Some(bytes @ 1..) if format.block_bytes.is_multiple_of(format.channels) => bytes.saturating_mul(8),
        _ => format.bits,
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

fn read_pcm(
    input: &mut Input,
    shape: Shape,
    pcm: Pcm,
    data: &Data,
    listener: &mut Listener<'_>,
) -> Result<Facts, Refusal> {
    let frame_bytes = usize::from(pcm.sample_bytes() * shape.channels);
    let frames = data.bytes / frame_bytes as u64;
    if frames == 0 {
        return Err(Refusal::Empty);
    }
    let mut block = vec![0; (BLOCK_BYTES / frame_bytes).max(1) * frame_bytes];
    let mut samples = Vec::with_capacity(block.len());
    let mut left = frames * frame_bytes as u64;
    while left > 0 {
        block.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        if !input.fill(&mut block)? {
            return Err(Refusal::Truncated);
        }
        pcm.decode(&block, &mut samples);
        listener(shape, &samples);
        left -= block.len() as u64;
    }
    Ok(Facts {
        media_type: "audio/wav",
        codec: Cow::Borrowed(pcm.name()),
        duration_seconds: seconds(frames, shape.sample_rate),
        shape,
        verification: Verification::Decoded,
    })
}

/// Reads formats whose samples come in blocks. The bytes tell how many samples there are; only ADPCM is decoded.
fn read_blocks(
    input: &mut Input,
    shape: Shape,
    format: &Format,
    data: &Data,
    listener: &mut Listener<'_>,
) -> Result<Facts, Refusal> {
    let blocks = Blocks::of(format)
        .ok_or_else(|| Refusal::not_audio("the recording is a WAV file of an unknown codec"))?;
    let most = blocks.frames(data.bytes, format);
    // Some writers leave `fact` at zero, others count the samples of all channels.
    let frames = data.frames_declared.filter(|frames| (1..=most).contains(frames)).unwrap_or(most);
    if frames == 0 {
        return Err(Refusal::Empty);
    }
    let verification = match blocks.adpcm {
        Some(codec) => {
            let (bytes, frames) = (format.block_bytes, blocks.frames_per_block);
            adpcm::decode(input, data.bytes, &adpcm::Blocks { codec, shape, bytes, frames }, listener)?
        }
        None => Verification::HeaderOnly,
    };
    Ok(Facts {
        media_type: "audio/wav",
        codec: blocks.codec,
        duration_seconds: seconds(frames, shape.sample_rate),
        shape,
        verification,
    })
}

/// The blocks of a compressed format.
struct Blocks {
    codec: Cow<'static, str>,
    adpcm: Option<AudioCodecId>,
    /// Zero where only the byte rate tells how long the sound is.
    frames_per_block: u16,
    /// The beginning of each block for each channel: so many bytes, which hold so many frames.
    preamble: (u16, u16),
}

impl Blocks {
    fn of(format: &Format) -> Option<Self> {
        let (codec, adpcm, preamble) = match format.tag {
            0x02 => ("adpcm_ms", Some(CODEC_ID_ADPCM_MS), (7, 2)),
            0x11 => ("adpcm_ima_wav", Some(CODEC_ID_ADPCM_IMA_WAV), (4, 1)),
            0x31 => ("gsm_ms", None, (0, 0)),
            0x14 | 0x40 | 0x45 | 0x64 => ("adpcm_g726", None, (0, 0)),
            0x22 => ("truespeech", None, (0, 0)),
            0x42 | 0x111 => ("g723_1", None, (0, 0)),
            0x83 | 0x133 => ("g729", None, (0, 0)),
            0x28f | 0x65 => ("adpcm_g722", None, (0, 0)),
            _ => return None,
        };
        let codec = Cow::Borrowed(codec);
        let frames_per_block = match format.tag {
            0x31 => 320,
            0x02 | 0x11 => {
                let block = Self { codec: codec.clone(), adpcm, frames_per_block: 0, preamble };
                u16::try_from(block.frames_in_part(u64::from(format.block_bytes), format)).ok()?
            }
            _ => 0,
        };
        let timed = frames_per_block > 0 && format.block_bytes > 0 || format.bytes_per_second > 0;
        timed.then_some(Self { codec, adpcm, frames_per_block, preamble })
    }

    /// Frames in so many bytes.
    fn frames(&self, bytes: u64, format: &Format) -> u64 {
        if self.frames_per_block == 0 {
            let frames = u128::from(bytes) * u128::from(format.sample_rate)
                / u128::from(format.bytes_per_second.max(1));
            return u64::try_from(frames).unwrap_or(u64::MAX);
        }
        let block_bytes = u64::from(format.block_bytes.max(1));
        let part = if self.adpcm.is_some() { self.frames_in_part(bytes % block_bytes, format) } else { 0 };
        bytes / block_bytes * u64::from(self.frames_per_block) + part
    }

    /// Frames in a block of ADPCM that was cut to so many bytes: four bits each, after the preamble.
    fn frames_in_part(&self, bytes: u64, format: &Format) -> u64 {
        let channels = u64::from(format.channels);
        match bytes.checked_sub(u64::from(self.preamble.0) * channels) {
            Some(rest) => rest * 2 / channels.max(1) + u64::from(self.preamble.1),
            None => 0,
        }
    }
}
