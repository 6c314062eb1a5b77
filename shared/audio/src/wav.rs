//! RIFF WAVE, and its 64-bit siblings RF64 and BW64: walks the chunks, then the samples.
//!
//! Recorders write these files as the call goes on, so sizes that were never filled in are fine: such data goes to
//! the end of the file. A size that was filled in and is not there is a truncated file.

use std::borrow::Cow;

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_ADPCM_IMA_WAV, CODEC_ID_ADPCM_MS};

use crate::decode::{self, Container};
use crate::input::Input;
use crate::pcm::Pcm;
use crate::{Facts, Refusal, Verification, adpcm, check_shape, mp3, seconds, verification, waveform};

/// Most chunks before the samples: recorders write a handful, and a file of nothing else must not take for ever.
const CHUNKS_MAX: usize = 1024;

/// Sizes from here on are what writers put who can't come back to fill them in (0xFFFFFFFF, 0x7FFFFFFF and some less
/// their header, 0x7FFFF000 of sox), where the file is smaller.
const OPEN_SIZE_MIN: u64 = 0x7fff_0000;

/// Bytes decoded in one go.
const BLOCK_BYTES: usize = 64 * 1024;

/// Longest part of `fmt ` that means anything: WAVEFORMATEXTENSIBLE, or the coefficients of MS ADPCM.
const FORMAT_BYTES_MAX: u64 = 512;

/// What `fmt ` says.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    pub(crate) tag: u16,
    pub(crate) channels: u16,
    pub(crate) sample_rate: u32,
    pub(crate) bytes_per_second: u32,
    pub(crate) block_bytes: u16,
    pub(crate) bits: u16,
}

/// Where the samples are.
#[derive(Clone, Debug)]
struct Data {
    start: u64,
    bytes: u64,
    /// `fact`: how many samples of each channel there are, where that isn't plain from the bytes.
    frames_declared: Option<u64>,
}

pub(crate) fn prove(input: &mut Input) -> Result<Facts, Refusal> {
    let (format, data) = read_header(input)?;
    check_shape(format.channels, format.sample_rate)?;
    input.seek(data.start)?;
    match (pcm(&format), format.tag) {
        (Some(pcm), _) => prove_pcm(input, &format, &data, pcm),
        (None, 0x50 | 0x55) => prove_mpeg(input, &data),
        (None, _) => prove_blocks(input, &format, &data),
    }
}

/// MPEG audio in a WAV file says by itself what it is.
fn prove_mpeg(input: &mut Input, data: &Data) -> Result<Facts, Refusal> {
    let sound = decode::run(input.section(data.start, data.bytes)?, Container::Mp3)?;
    let mut facts = sound.facts;
    let padded = mp3::frames_padded(sound.packets, &facts);
    let declared = data.frames_declared.filter(|frames| (1..=padded).contains(frames));
    facts.media_type = "audio/wav";
    facts.duration_seconds = seconds(declared.unwrap_or(padded), facts.sample_rate);
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
            // A file that ends here as its header says it does has no samples to wait for.
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

/// How many bytes of samples there are at this position, of so many that the header promises.
fn data_bytes(promised: u64, riff_bytes: u64, input: &Input) -> Result<u64, Refusal> {
    let left = input.left_bytes();
    // A size of zero is meant where the size of the whole file was filled in.
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

/// How the samples are written, where each stands for itself.
fn pcm(format: &Format) -> Option<Pcm> {
    // The block says how wide samples are stored; the bits may be fewer, such as 20 in three bytes.
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

fn prove_pcm(input: &mut Input, format: &Format, data: &Data, pcm: Pcm) -> Result<Facts, Refusal> {
    let frame_bytes = usize::from(pcm.sample_bytes() * format.channels);
    let mut left = usize::try_from(data.bytes).unwrap_or(usize::MAX) / frame_bytes * frame_bytes;
    let mut block = vec![0; (BLOCK_BYTES / frame_bytes).max(1) * frame_bytes];
    let mut samples = Vec::with_capacity(block.len());
    let mut builder = waveform::Builder::new(format.channels);
    while left > 0 {
        block.truncate(left);
        if !input.fill(&mut block)? {
            return Err(Refusal::Truncated);
        }
        pcm.decode(&block, &mut samples);
        builder.push(&samples);
        left -= block.len();
    }
    let frames = builder.frames();
    let waveform = builder.finish().ok_or(Refusal::Empty)?;
    Ok(Facts {
        media_type: "audio/wav",
        codec: Cow::Borrowed(pcm.name()),
        duration_seconds: seconds(frames, format.sample_rate),
        channels: format.channels,
        sample_rate: format.sample_rate,
        verification: Verification::Decoded,
        waveform: Some(waveform),
    })
}

/// Formats whose samples come in blocks: the bytes say how many there are, the codec decides whether to look at them.
fn prove_blocks(input: &mut Input, format: &Format, data: &Data) -> Result<Facts, Refusal> {
    let blocks = Blocks::of(format)
        .ok_or_else(|| Refusal::not_audio("the recording is a WAV file of an unknown codec"))?;
    let most = blocks.frames(data.bytes, format);
    // Some writers leave `fact` at zero, others count the samples of all channels.
    let frames = data.frames_declared.filter(|frames| (1..=most).contains(frames)).unwrap_or(most);
    if frames == 0 {
        return Err(Refusal::Empty);
    }
    let waveform = match blocks.adpcm {
        Some(codec) => adpcm::decode(input, format, codec, data.bytes, blocks.frames_per_block)?,
        None => None,
    };
    Ok(Facts {
        media_type: "audio/wav",
        codec: blocks.codec,
        duration_seconds: seconds(frames, format.sample_rate),
        channels: format.channels,
        sample_rate: format.sample_rate,
        verification: verification(waveform.as_ref()),
        waveform,
    })
}

/// How a compressed format lays out its blocks.
struct Blocks {
    codec: Cow<'static, str>,
    adpcm: Option<AudioCodecId>,
    /// Zero where only the byte rate tells time.
    frames_per_block: u16,
    /// What each block begins with for each channel: so many bytes, which hold so many frames.
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
