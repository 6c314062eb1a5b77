//! WAV files whose samples come in blocks: ADPCM and telephone codecs.

use std::borrow::Cow;

use callvine_domain::recording::Verification;
use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_ADPCM_IMA_WAV, CODEC_ID_ADPCM_MS};

use super::{Data, Format};
use crate::input::Input;
use crate::{Ending, Facts, Listener, Refusal, Shape, adpcm, seconds};

/// Reads formats whose samples come in blocks. The bytes tell how many samples there are; only ADPCM is decoded.
pub(super) fn read(
    input: &mut Input,
    shape: Shape,
    format: &Format,
    data: &Data,
    listener: &mut Listener<'_>,
) -> Result<Facts, Refusal> {
    let blocks = Blocks::of(format).ok_or_else(|| {
        Refusal::not_audio(format!(
            "the recording is a WAV file of an unknown codec (format {:#x})",
            format.tag
        ))
    })?;
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
        ending: Ending::Told,
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
            // Oki's and Dialogic's, which differ in name only.
            0x10 | 0x17 => ("adpcm_ima_oki", None, (0, 0)),
            0x31 | 0x32 => ("gsm_ms", None, (0, 0)),
            // NMS. ffprobe takes it for AMR, which some phones write under the same number.
            0x38 => ("adpcm_nms", None, (0, 0)),
            0x57 => ("amr_nb", None, (0, 0)),
            0x58 => ("amr_wb", None, (0, 0)),
            0x14 | 0x40 | 0x45 | 0x64 => ("adpcm_g726", None, (0, 0)),
            0x22 => ("truespeech", None, (0, 0)),
            0x42 | 0x111 => ("g723_1", None, (0, 0)),
            0x83 | 0x133 => ("g729", None, (0, 0)),
            0x28f | 0x65 => ("adpcm_g722", None, (0, 0)),
            _ => return None,
        };
        let codec = Cow::Borrowed(codec);
        let frames_per_block = match format.tag {
            0x31 | 0x32 => 320,
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
