//! Decodes the blocks of ADPCM in WAVE files.

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoderOptions};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use crate::Refusal;
use crate::input::Input;
use crate::wav::Format;
use crate::waveform::{Builder, Waveform};

/// Decodes the whole blocks of the next `bytes` bytes. A block that can't be decoded is passed over, as players do;
/// where that is more than half of them, this is no ADPCM.
pub(crate) fn decode(
    input: &mut Input,
    format: &Format,
    codec: AudioCodecId,
    bytes: u64,
    frames_per_block: u16,
) -> Result<Option<Waveform>, Refusal> {
    let frames = u64::from(frames_per_block);
    let mut parameters = AudioCodecParameters::new();
    parameters
        .for_codec(codec)
        .with_sample_rate(format.sample_rate)
        .with_channels(Channels::Discrete(format.channels))
        .with_max_frames_per_packet(frames)
        .with_frames_per_block(frames);
    let decoder =
        symphonia::default::get_codecs().make_audio_decoder(&parameters, &AudioDecoderOptions::default());
    // More than two channels, which nobody writes.
    let Ok(mut decoder) = decoder else { return Ok(None) };
    let block_bytes = u64::from(format.block_bytes.max(1));
    let mut block = vec![0; usize::from(format.block_bytes.max(1))];
    let (mut samples, mut builder, mut bad) = (Vec::new(), Builder::new(format.channels), 0_u64);
    let blocks = bytes / block_bytes;
    for _ in 0..blocks {
        if !input.fill(&mut block)? {
            return Err(Refusal::Truncated);
        }
        match decoder.decode(&Packet::new(0, Timestamp::new(0), Duration::new(frames), block.as_slice())) {
            Ok(decoded) => {
                decoded.copy_to_vec_interleaved::<i16>(&mut samples);
                builder.push(&samples);
            }
            Err(_) => bad += 1,
        }
    }
    if bad > blocks / 2 {
        return Err(Refusal::not_audio("the recording's samples can't be decoded"));
    }
    Ok(builder.finish())
}
