//! MPEG audio as a bare stream of frames, perhaps after a tag; and AAC in the same manner.

use crate::decode::{self, Container};
use crate::input::Input;
use crate::{Facts, Listener, Refusal, seconds};

/// Most zeros between a tag and the first frame.
const PADDING_BYTES_MAX: u64 = 64 * 1024;

pub(crate) fn read(input: &mut Input, start: &[u8], listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    let first_frame = first_frame(input, start)?;
    input.seek(first_frame)?;
    let frame = input.read()?.unwrap_or([0; 64]);
    // Twelve bits of synchronisation and no layer: AAC in ADTS.
    let adts = matches!(frame, [0xff, 0xf0 | 0xf1 | 0xf8 | 0xf9, ..]);
    let container = if adts { Container::Adts } else { Container::Mp3 };
    let sound = decode::run(input.section(first_frame, u64::MAX)?, container, listener)?;
    let frames_declared = if adts { None } else { frames_declared(&frame) };
    // Some encoders count the frame that holds the count.
    if frames_declared.is_some_and(|declared| declared > sound.packets + 1) {
        return Err(Refusal::Truncated);
    }
    let mut facts = sound.facts;
    facts.duration_seconds = seconds(frames_padded(sound.packets, &facts), facts.shape.sample_rate);
    Ok(facts)
}

/// Frames of so many packets, with those that encoders add before and after: all packets are equally long.
pub(crate) fn frames_padded(packets: u64, facts: &Facts) -> u64 {
    let frames_per_packet = match (&*facts.codec, facts.shape.sample_rate) {
        ("aac", _) => 1024,
        ("mp1", _) => 384,
        ("mp2", _) | ("mp3", 32_000..) => 1152,
        _ => 576,
    };
    packets.saturating_mul(frames_per_packet)
}

/// The offset of the first frame: after an `ID3v2` tag, if there is one, and its padding.
fn first_frame(input: &mut Input, start: &[u8]) -> Result<u64, Refusal> {
    let &[b'I', b'D', b'3', _, _, flags, a, b, c, d, ..] = start else {
        return Ok(0);
    };
    let size = [a, b, c, d].iter().fold(0, |size, byte| size << 7 | u64::from(byte & 0x7f));
    let footer = if flags & 0x10 == 0 { 0 } else { 10 };
    let end = 10 + size + footer;
    if end >= input.length_bytes() {
        return Err(Refusal::Truncated);
    }
    input.seek(end)?;
    while let Some([byte]) = input.read::<1>()? {
        match byte {
            0 if input.position() < end + PADDING_BYTES_MAX => {}
            0xff => return Ok(input.position() - 1),
            _ => break,
        }
    }
    Err(Refusal::not_audio("the recording is a tag without sound"))
}

/// The count of frames in the Xing or Info header that the first frame may hold instead of sound.
fn frames_declared(frame: &[u8; 64]) -> Option<u64> {
    let at = frame.windows(4).position(|word| word == b"Xing" || word == b"Info")?;
    match frame.get(at + 4..at + 12)? {
        [_, _, _, flags, count @ ..] if flags & 1 == 1 => {
            Some(u64::from(u32::from_be_bytes(count.try_into().ok()?)))
        }
        _ => None,
    }
}
