//! MPEG audio as a bare stream of frames, perhaps after tags or the rest of a frame; and AAC in the same manner.

use crate::decode::{self, Container};
use crate::input::Input;
use crate::{Facts, Listener, Refusal, flac, seconds};

mod frame;

/// Most tags one after another: tools that don't see the first add another.
const TAGS_MAX: usize = 16;

/// Bytes looked at in one go where nothing but padding may be left.
const PADDING_BLOCK_BYTES: u64 = 4096;

/// Bytes of a tag at the end of a file.
const END_TAG_BYTES: u64 = 128;

pub(crate) fn read(input: &mut Input, start: &[u8], listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    let after_tags = after_tags(input)?;
    input.seek(after_tags)?;
    if input.read()?.is_some_and(|mark: [u8; 4]| mark == flac::MAGIC) {
        return flac::read(input, after_tags, listener);
    }
    let Some((first_frame, frame)) = frame::first(input, after_tags)? else {
        return Err(if after_tags == 0 {
            let is_sync = matches!(start, [0xff, 0xe0..=0xff, ..]);
            let no_mpeg = if is_sync { "no MPEG audio" } else { "of no audio format that is known here" };
            Refusal::not_audio(format!("the recording is {no_mpeg}"))
        } else if is_padding_from(input, after_tags)? {
            Refusal::Empty
        } else {
            Refusal::not_audio("the recording is a tag without sound")
        });
    };
    let adts = frame.is_adts;
    input.seek(first_frame)?;
    let frame = input.read()?.unwrap_or([0; 64]);
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

/// The offset behind the `ID3v2` tags, if there are any.
fn after_tags(input: &mut Input) -> Result<u64, Refusal> {
    let mut offset = 0_u64;
    for _ in 0..TAGS_MAX {
        input.seek(offset)?;
        let Some([b'I', b'D', b'3', _, _, flags, a, b, c, d]) = input.read()? else { return Ok(offset) };
        let size = [a, b, c, d].iter().fold(0, |size, byte| size << 7 | u64::from(byte & 0x7f));
        let footer = if flags & 0x10 == 0 { 0 } else { 10 };
        offset += 10 + size + footer;
        if offset > input.length_bytes() {
            return Err(Refusal::Truncated);
        }
    }
    Ok(offset)
}

/// Whether nothing comes from here on but zeros and perhaps a tag that belongs to the end.
fn is_padding_from(input: &mut Input, start: u64) -> Result<bool, Refusal> {
    let mut end = input.length_bytes();
    if let Some(tag) = end.checked_sub(END_TAG_BYTES).filter(|tag| *tag >= start) {
        input.seek(tag)?;
        if input.read()? == Some(*b"TAG") {
            end = tag;
        }
    }
    input.seek(start)?;
    let mut block = Vec::new();
    while input.position() < end {
        let bytes = (end - input.position()).min(PADDING_BLOCK_BYTES);
        block.resize(usize::try_from(bytes).unwrap_or(0), 0);
        if !input.fill(&mut block)? || block.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
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
