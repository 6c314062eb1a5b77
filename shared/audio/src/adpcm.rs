//! Decodes the blocks of ADPCM in WAVE files.

use callvine_domain::recording::Verification;
use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoderOptions};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use crate::input::Input;
use crate::{Listener, Refusal, Shape};

/// How the blocks are laid out.
pub(crate) struct Blocks {
    pub(crate) codec: AudioCodecId,
    pub(crate) shape: Shape,
    /// Bytes of a block.
    pub(crate) bytes: u16,
    /// Frames of a block.
    pub(crate) frames: u16,
}

/// Decodes the whole blocks of the next `bytes` bytes. Skips a block that can't be decoded, as players do; refuses the
/// recording where that is more than half of them.
pub(crate) fn decode(
    input: &mut Input,
    bytes: u64,
    blocks: &Blocks,
    listener: &mut Listener<'_>,
) -> Result<Verification, Refusal> {
    let frames = u64::from(blocks.frames);
    let mut parameters = AudioCodecParameters::new();
    parameters
        .for_codec(blocks.codec)
        .with_sample_rate(blocks.shape.sample_rate)
        .with_channels(Channels::Discrete(blocks.shape.channels))
        .with_max_frames_per_packet(frames)
        .with_frames_per_block(frames);
    let decoder =
        symphonia::default::get_codecs().make_audio_decoder(&parameters, &AudioDecoderOptions::default());
    // The decoder takes one or two channels; no known recorder writes more.
    let Ok(mut decoder) = decoder else { return Ok(Verification::HeaderOnly) };
    let mut block = vec![0; usize::from(blocks.bytes.max(1))];
    let (mut samples, mut bad, mut verification) = (Vec::new(), 0_u64, Verification::HeaderOnly);
    let count = bytes / u64::from(blocks.bytes.max(1));
    for _ in 0..count {
        if !input.fill(&mut block)? {
            return Err(Refusal::Truncated);
        }
        match decoder.decode(&Packet::new(0, Timestamp::new(0), Duration::new(frames), block.as_slice())) {
            Ok(decoded) if decoded.frames() > 0 => {
                decoded.copy_to_vec_interleaved::<i16>(&mut samples);
                listener(blocks.shape, &samples);
                verification = Verification::Decoded;
            }
            Ok(_) => {}
            Err(_) => bad += 1,
        }
    }
    if bad > count / 2 {
        return Err(Refusal::not_audio("the recording's samples can't be decoded"));
    }
    Ok(verification)
}
