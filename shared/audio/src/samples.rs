//! Reads plain samples, and those of G.711, from a file whose header told how they are written.

use std::borrow::Cow;

use callvine_domain::recording::Verification;

use crate::input::Input;
use crate::pcm::Pcm;
use crate::{Ending, Facts, Listener, Refusal, Shape, seconds};

/// Bytes decoded in one go.
const BLOCK_BYTES: usize = 64 * 1024;

/// Most bytes that a file may lack of its samples and still count as whole, where its header is as long: some recorders count
/// their header too.
const HEADER_COUNTED_MAX: u64 = 1024;

/// The bytes of samples of which a header promises so many, where `left` bytes come after a header of `header_bytes`.
pub(crate) fn promised(promised: u64, left: u64, header_bytes: u64) -> Result<(u64, Ending), Refusal> {
    match promised.checked_sub(left) {
        None | Some(0) => Ok((promised, Ending::Told)),
        Some(lacking) if lacking <= header_bytes.min(HEADER_COUNTED_MAX) => Ok((left, Ending::Short)),
        Some(_) => Err(Refusal::Truncated),
    }
}

/// Hands the next `bytes` bytes to the listener as samples. A part of a frame at the end is left out. The facts are those of
/// a WAV file with a told ending.
pub(crate) fn read(
    input: &mut Input,
    shape: Shape,
    pcm: Pcm,
    bytes: u64,
    listener: &mut Listener<'_>,
) -> Result<Facts, Refusal> {
    let frame_bytes = usize::from(pcm.sample_bytes() * shape.channels);
    let frames = bytes / frame_bytes as u64;
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
        ending: Ending::Told,
    })
}
