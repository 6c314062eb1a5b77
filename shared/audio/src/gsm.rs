//! GSM 06.10 as a bare stream of frames of 20 ms, as Asterisk writes it (RFC 3551, 4.5.8). It is walked and not decoded.

use std::borrow::Cow;

use callvine_domain::recording::Verification;

use crate::input::Input;
use crate::{Ending, Facts, Refusal, Shape, seconds};

/// Bytes of a frame.
const FRAME_BYTES: u64 = 33;

/// Frames that prove a file to be GSM. Each has only half a byte that is always the same.
const FRAMES_SEEN: u64 = 8;

/// Whether the file begins with frames, or is nothing but frames.
pub(crate) fn begins(input: &mut Input) -> Result<bool, Refusal> {
    let frames = input.length_bytes() / FRAME_BYTES;
    let whole = input.length_bytes().is_multiple_of(FRAME_BYTES);
    if frames == 0 || (frames < FRAMES_SEEN && !whole) {
        return Ok(false);
    }
    for frame in 0..frames.min(FRAMES_SEEN) {
        if !is_frame(input, frame)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Walks all frames.
pub(crate) fn walk(input: &mut Input) -> Result<Facts, Refusal> {
    let frames = input.length_bytes() / FRAME_BYTES;
    for frame in 0..frames {
        if !is_frame(input, frame)? {
            return Err(Refusal::not_audio("the recording is a broken GSM file"));
        }
    }
    if !input.length_bytes().is_multiple_of(FRAME_BYTES) {
        return Err(Refusal::Truncated);
    }
    Ok(Facts {
        media_type: "audio/gsm",
        codec: Cow::Borrowed("gsm"),
        duration_seconds: seconds(frames, 50),
        shape: Shape { channels: 1, sample_rate: 8_000 },
        verification: Verification::HeaderOnly,
        ending: Ending::Told,
    })
}

fn is_frame(input: &mut Input, frame: u64) -> Result<bool, Refusal> {
    input.seek(frame * FRAME_BYTES)?;
    Ok(matches!(input.read()?, Some([0xd0..=0xdf])))
}
