//! One stream of an Ogg file: its packets, and their length in frames.

use crate::input::Input;
use crate::{Refusal, Shape, opus};

/// Bytes of the first packet that matter.
const HEAD_BYTES: usize = 80;

/// Most frames of a packet of Speex: ten of wide-band, as much as any encoder packs.
const SPEEX_PACKET_FRAMES_MAX: u64 = 6400;

/// Most packets of comments before the sound of Speex.
const SPEEX_HEADERS_MAX: u32 = 64;

/// The header of a page.
pub(super) struct Page {
    /// Whether a stream begins with it.
    pub(super) begins: bool,
    /// The frames up to its end, by the writer's count. Below zero where no packet ends in it.
    pub(super) position: i64,
    pub(super) serial: [u8; 4],
    /// Bytes of the body's segments. A packet ends with each that is not full.
    pub(super) sizes: Vec<u8>,
}

impl Page {
    pub(super) fn body_bytes(&self) -> u64 {
        self.sizes.iter().copied().map(u64::from).sum()
    }
}

/// The codec of a stream.
pub(super) enum Codec {
    /// Vorbis or FLAC: the decoder counts.
    Decoded,
    /// Its packets tell how long they are.
    Walked {
        name: &'static str,
        shape: Shape,
        /// Frames of each packet; `None` where the packet itself tells.
        packet_frames: Option<u64>,
        /// Frames before the sound.
        skipped: u64,
    },
}

/// A stream of sound.
pub(super) struct Stream {
    pub(super) codec: Codec,
    pub(super) serial: [u8; 4],
    /// Packets of comments still to come.
    headers: u32,
    /// The packet under way: its bytes so far, and the first two of them.
    packet_bytes: u64,
    packet_head: [u8; 2],
    /// Frames of all packets, and of those that end in the last page that has a position.
    frames: u64,
    last_page_frames: u64,
    /// Frames of packets on pages without a position, since the last that has one.
    page_frames: u64,
    /// The position before the first packet, and that of the last page.
    start: Option<i64>,
    end: i64,
}

impl Stream {
    /// The stream that this page begins; `None` where it is no sound that is known here. The input is at the page's body.
    pub(super) fn begun(input: &mut Input, page: &Page) -> Result<Option<Self>, Refusal> {
        let mut head = [0; HEAD_BYTES];
        let bytes = usize::try_from(page.body_bytes()).unwrap_or(HEAD_BYTES).min(HEAD_BYTES);
        input.fill(head.get_mut(..bytes).unwrap_or_default())?;
        let word = |at: usize| {
            head.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_le_bytes)
        };
        let (codec, headers) = match head {
            [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', _, channels, s0, s1, ..] => {
                let shape = Shape::new(u16::from(channels), opus::RATE)?;
                let skipped = u64::from(u16::from_le_bytes([s0, s1]));
                (Codec::Walked { name: "opus", shape, packet_frames: None, skipped }, 1)
            }
            [b'S', b'p', b'e', b'e', b'x', b' ', b' ', b' ', ..] => {
                let shape = Shape::new(u16::try_from(word(48)).unwrap_or(u16::MAX), word(36))?;
                let frames = u64::from(word(56)).saturating_mul(u64::from(word(64).max(1)));
                if !(1..=SPEEX_PACKET_FRAMES_MAX).contains(&frames) || word(68) > SPEEX_HEADERS_MAX {
                    return Err(Refusal::not_audio("the recording is a broken Speex file"));
                }
                (
                    Codec::Walked { name: "speex", shape, packet_frames: Some(frames), skipped: 0 },
                    1 + word(68),
                )
            }
            [1, b'v', b'o', b'r', b'b', b'i', b's', ..] | [0x7f, b'F', b'L', b'A', b'C', ..] => {
                (Codec::Decoded, 0)
            }
            _ => return Ok(None),
        };
        Ok(Some(Self {
            codec,
            serial: page.serial,
            headers,
            packet_bytes: 0,
            packet_head: [0; 2],
            frames: 0,
            last_page_frames: 0,
            page_frames: 0,
            start: None,
            end: 0,
        }))
    }

    /// Walks a further page of this stream. The input is at the page's body; `body` is a buffer to be used again.
    pub(super) fn take(&mut self, input: &mut Input, page: &Page, body: &mut Vec<u8>) -> Result<(), Refusal> {
        let Codec::Walked { packet_frames, .. } = self.codec else { return Ok(()) };
        body.resize(usize::try_from(page.body_bytes()).unwrap_or(0), 0);
        if !input.fill(body)? {
            return Err(Refusal::Truncated);
        }
        let (mut rest, mut ended) = (body.as_slice(), false);
        for &size in &page.sizes {
            let Some((segment, after)) = rest.split_at_checked(usize::from(size)) else { break };
            rest = after;
            for (byte, at) in segment.iter().zip(self.packet_bytes..2) {
                if let Some(place) = usize::try_from(at).ok().and_then(|at| self.packet_head.get_mut(at)) {
                    *place = *byte;
                }
            }
            self.packet_bytes = self.packet_bytes.saturating_add(u64::from(size));
            if size < 255 {
                ended |= self.end_packet(packet_frames)?;
            }
        }
        if ended && page.position >= 0 {
            // Streams that are cut out of others begin anywhere, also below zero.
            let frames = i64::try_from(self.page_frames).unwrap_or(i64::MAX);
            self.start.get_or_insert(page.position.saturating_sub(frames).max(0));
            self.end = page.position;
            self.last_page_frames = self.page_frames;
            self.page_frames = 0;
        }
        Ok(())
    }

    /// Counts the packet that ends here. `false`: it was one of comments, or has no bytes, and so no frames.
    fn end_packet(&mut self, packet_frames: Option<u64>) -> Result<bool, Refusal> {
        let bytes = std::mem::take(&mut self.packet_bytes);
        if self.headers > 0 {
            self.headers -= 1;
            return Ok(false);
        }
        let head = self.packet_head.get(..usize::try_from(bytes).unwrap_or(2).min(2)).unwrap_or_default();
        if head.is_empty() {
            return Ok(false);
        }
        let frames = packet_frames.or_else(|| opus::packet_frames(head));
        let frames = frames.ok_or_else(|| Refusal::not_audio("the recording's packets are broken"))?;
        self.frames = self.frames.saturating_add(frames);
        self.page_frames = self.page_frames.saturating_add(frames);
        Ok(true)
    }

    /// Frames that are meant to be heard. The packets tell; the last position tells how much of the last page is to be left
    /// out (RFC 7845, 4.4 and 4.5), and is not believed where it says anything else.
    pub(super) fn frames(&self) -> u64 {
        let by_position = u64::try_from(self.end.saturating_sub(self.start.unwrap_or(0))).unwrap_or(0);
        let least = self.frames.saturating_sub(self.last_page_frames.saturating_add(self.page_frames));
        let believed = by_position > least && by_position <= self.frames;
        let frames = if believed { by_position } else { self.frames };
        let Codec::Walked { skipped, .. } = self.codec else { return frames };
        frames.saturating_sub(skipped)
    }
}
