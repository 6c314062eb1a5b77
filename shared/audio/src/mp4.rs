//! MP4 and M4A: walks the outermost boxes, then decodes.

use crate::decode::{self, Container};
use crate::input::Input;
use crate::{Facts, Listener, Refusal, seconds};

/// Largest index. It is held in memory as a whole; this size is enough for days of sound.
const INDEX_BYTES_MAX: u64 = 16 * 1024 * 1024;

pub(crate) fn read(input: &mut Input, listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    check_boxes(input)?;
    let sound = decode::run(input.section(0, u64::MAX)?, Container::Mp4, listener)?;
    let mut facts = sound.facts;
    // Only the header tells how much of the samples is to be heard. It is believed as far as there are samples; the header
    // of a file that is written in fragments does not tell.
    let padded = seconds(sound.frames_padded, facts.shape.sample_rate);
    facts.duration_seconds =
        sound.seconds_declared.filter(|&declared| declared > 0.0).unwrap_or(padded).min(padded);
    Ok(facts)
}

/// Refuses a file of which a box ends behind its end, or which lacks an index or samples.
fn check_boxes(input: &mut Input) -> Result<(), Refusal> {
    let (mut index, mut samples) = (false, false);
    input.seek(0)?;
    while input.left_bytes() > 0 {
        let start = input.position();
        let Some([s0, s1, s2, s3, kind @ ..]) = input.read::<8>()? else {
            return Err(Refusal::Truncated);
        };
        let kind: [u8; 4] = kind;
        let size = match u32::from_be_bytes([s0, s1, s2, s3]) {
            // To the end of the file.
            0 => input.length_bytes() - start,
            1 => u64::from_be_bytes(input.read()?.ok_or(Refusal::Truncated)?),
            size => u64::from(size),
        };
        let end = start.checked_add(size).filter(|&end| end >= input.position());
        let end = end.ok_or_else(|| Refusal::not_audio("the recording is a broken MP4 file"))?;
        if end > input.length_bytes() {
            return Err(Refusal::Truncated);
        }
        match &kind {
            b"moov" | b"moof" if size > INDEX_BYTES_MAX => {
                return Err(Refusal::not_audio("the recording is an MP4 file of nothing but an index"));
            }
            b"moov" => index = true,
            b"mdat" => samples = true,
            _ => {}
        }
        input.seek(end)?;
    }
    match (index, samples) {
        (true, _) => Ok(()),
        // The index is written when the recording ends.
        (false, true) => Err(Refusal::Truncated),
        (false, false) => Err(Refusal::not_audio("the recording is an MP4 file without sound")),
    }
}
