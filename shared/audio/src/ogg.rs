//! Ogg: walks the pages (RFC 3533), then decodes Vorbis and FLAC. Opus and Speex are only walked.

use std::borrow::Cow;

use callvine_domain::recording::Verification;

use crate::decode::{self, Container};
use crate::input::Input;
use crate::{Facts, Listener, Refusal, Shape, seconds};

/// Opus always counts 48,000 frames a second, whatever went in (RFC 7845, 4).
const OPUS_RATE: u32 = 48_000;

/// Most frames that a byte of Opus or Speex stands for: a packet is at least one byte and at most 120 ms.
const FRAMES_PER_BYTE_MAX: u64 = 5760;

/// The first stream, as its pages describe it.
struct Stream {
    /// The first packet, as far as it matters.
    head: [u8; 64],
    /// Frames up to the end of the last page.
    granule: u64,
}

pub(crate) fn read(input: &mut Input, listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    let stream = walk(input)?;
    if stream.granule / FRAMES_PER_BYTE_MAX > input.length_bytes() {
        return Err(Refusal::not_audio("the recording is an Ogg file that claims to last for ever"));
    }
    match stream.head {
        [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', _, channels, s0, s1, ..] => {
            let skipped = u64::from(u16::from_le_bytes([s0, s1]));
            walked("opus", stream.granule.saturating_sub(skipped), u16::from(channels), OPUS_RATE)
        }
        [b'S', b'p', b'e', b'e', b'x', b' ', b' ', b' ', ..] => {
            let word = |at: usize| {
                stream.head.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes)
            };
            let channels = word(48).and_then(|channels| u16::try_from(channels).ok()).unwrap_or(0);
            walked("speex", stream.granule, channels, word(36).unwrap_or(0))
        }
        [1, b'v', b'o', b'r', b'b', b'i', b's', ..] | [0x7f, b'F', b'L', b'A', b'C', ..] => {
            let sound = decode::run(input.section(0, u64::MAX)?, Container::Ogg, listener)?;
            Ok(sound.facts)
        }
        _ => Err(Refusal::not_audio("the recording is an Ogg file without sound that is known here")),
    }
}

fn walked(codec: &'static str, frames: u64, channels: u16, sample_rate: u32) -> Result<Facts, Refusal> {
    let shape = Shape::new(channels, sample_rate)?;
    if frames == 0 {
        return Err(Refusal::Empty);
    }
    Ok(Facts {
        media_type: "audio/ogg",
        codec: Cow::Borrowed(codec),
        duration_seconds: seconds(frames, sample_rate),
        shape,
        verification: Verification::HeaderOnly,
    })
}

/// Walks the pages to the end of the file.
fn walk(input: &mut Input) -> Result<Stream, Refusal> {
    let broken = || Refusal::not_audio("the recording is a broken Ogg file");
    let (mut stream, mut first_serial) = (None, None);
    input.seek(0)?;
    while input.left_bytes() > 0 {
        let page = input.read::<27>()?.ok_or(Refusal::Truncated)?;
        let [b'O', b'g', b'g', b'S', 0, _, g @ .., _, _, _, _, _, _, _, _, segments] = page else {
            return Err(broken());
        };
        let [g0, g1, g2, g3, g4, g5, g6, g7, serial @ ..] = g;
        let serial: [u8; 4] = serial;
        let mut sizes = vec![0; usize::from(segments)];
        if !input.fill(&mut sizes)? {
            return Err(Refusal::Truncated);
        }
        let body_bytes: u64 = sizes.iter().copied().map(u64::from).sum();
        if body_bytes > input.left_bytes() {
            return Err(Refusal::Truncated);
        }
        let end = input.position() + body_bytes;
        let stream = match &mut stream {
            Some(stream) => stream,
            None => {
                let mut head = [0; 64];
                let head_bytes = usize::try_from(body_bytes).unwrap_or(64).min(64);
                input.fill(head.get_mut(..head_bytes).unwrap_or_default())?;
                first_serial = Some(serial);
                stream.insert(Stream { head, granule: 0 })
            }
        };
        let granule = u64::from_le_bytes([g0, g1, g2, g3, g4, g5, g6, g7]);
        // All ones on pages on which no packet ends.
        if first_serial == Some(serial) && granule != u64::MAX {
            stream.granule = stream.granule.max(granule);
        }
        input.seek(end)?;
    }
    stream.ok_or_else(broken)
}
