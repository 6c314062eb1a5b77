//! The headers of MPEG audio's frames (ISO/IEC 11172-3, 2.4.1.3, and 13818-3) and of AAC in ADTS (13818-7, 6.2): where a
//! stream begins is told by two in a row that agree.

use crate::Refusal;
use crate::input::Input;

/// How far a first frame is looked for: behind a tag's padding, or what a cut or a proxy left of others.
const SEARCH_BYTES_MAX: u64 = 64 * 1024;

/// Bit rates by their index, in kbit/s: of MPEG 1's three layers, then MPEG 2's layer I, then its layers II and III.
const BIT_RATES: [[u16; 16]; 5] = [
    [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448, 0],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 0],
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256, 0],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0],
];

/// Sample rates of MPEG 1 by their index. MPEG 2 has half of each, MPEG 2.5 a quarter.
const SAMPLE_RATES: [u32; 4] = [44_100, 48_000, 32_000, 0];

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) is_adts: bool,
    /// Version, layer and sample rate: the same in all frames of a stream.
    kind: (u8, u8, u8),
    /// Bytes of the frame, header included.
    bytes: u64,
}

impl Frame {
    /// The frame that begins with these bytes; `None` where none does.
    fn of([b0, b1, b2, b3, b4, b5]: [u8; 6]) -> Option<Self> {
        if b0 != 0xff || b1 < 0xe0 {
            return None;
        }
        // Twelve bits of synchronisation and no layer: AAC in ADTS.
        if b1 & 0xf6 == 0xf0 {
            let bytes = u64::from(b3 & 3) << 11 | u64::from(b4) << 3 | u64::from(b5) >> 5;
            let rate = b2 >> 2 & 0xf;
            return (bytes > 7 && rate < 13).then_some(Self {
                is_adts: true,
                kind: (b1 & 8, 0, rate),
                bytes,
            });
        }
        let (version, layer, rate) = (b1 >> 3 & 3, 4 - (b1 >> 1 & 3), b2 >> 2 & 3);
        if version == 1 || layer == 4 || rate == 3 {
            return None;
        }
        let row = match (version, layer) {
            (3, layer) => usize::from(layer) - 1,
            (_, 1) => 3,
            _ => 4,
        };
        let bit_rate = u32::from(*BIT_RATES.get(row)?.get(usize::from(b2 >> 4))?) * 1000;
        let sample_rate = SAMPLE_RATES.get(usize::from(rate))? / [4, 1, 2, 1].get(usize::from(version))?;
        if bit_rate == 0 {
            return None;
        }
        let padding = u32::from(b2 >> 1 & 1);
        let bytes = match (layer, version) {
            (1, _) => (12 * bit_rate / sample_rate + padding) * 4,
            (3, 0 | 2) => 72 * bit_rate / sample_rate + padding,
            _ => 144 * bit_rate / sample_rate + padding,
        };
        Some(Self { is_adts: false, kind: (version, layer, rate), bytes: u64::from(bytes) })
    }

    fn at(input: &mut Input, offset: u64) -> Result<Option<Self>, Refusal> {
        input.seek(offset)?;
        Ok(input.read()?.and_then(Self::of))
    }
}

/// The first frame that another one of its kind follows, and its offset: at `start` or somewhat behind. `None` where there is
/// none.
pub(super) fn first(input: &mut Input, start: u64) -> Result<Option<(u64, Frame)>, Refusal> {
    let end = start.saturating_add(SEARCH_BYTES_MAX).min(input.length_bytes());
    let mut offset = start;
    while offset < end {
        input.seek(offset)?;
        let Some([byte]) = input.read()? else { break };
        if byte == 0xff
            && let Some(frame) = Frame::at(input, offset)?
            && let Some(next) = Frame::at(input, offset.saturating_add(frame.bytes))?
            && (next.is_adts, next.kind) == (frame.is_adts, frame.kind)
        {
            return Ok(Some((offset, frame)));
        }
        offset += 1;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_sizes_of_the_standard() {
        for (header, bytes) in [
            ([0xff, 0xfb, 0x90, 0x00, 0, 0], Some(417)),
            ([0xff, 0xfb, 0x92, 0x00, 0, 0], Some(418)),
            ([0xff, 0xf3, 0x48, 0xc0, 0, 0], Some(144)),
            ([0xff, 0xe3, 0x18, 0xc0, 0, 0], Some(72)),
            ([0xff, 0xfd, 0x84, 0x00, 0, 0], Some(384)),
            ([0xff, 0xff, 0x14, 0x00, 0, 0], Some(32)),
            ([0xff, 0xf1, 0x6c, 0x40, 0x05, 0x20], Some(41)),
            ([0xff, 0xf1, 0x6c, 0x40, 0x00, 0x20], None),
            ([0xff, 0xfb, 0xf0, 0x00, 0, 0], None),
            ([0xff, 0xfb, 0x9c, 0x00, 0, 0], None),
            ([0xff, 0xeb, 0x90, 0x00, 0, 0], None),
            ([0xff, 0xf9, 0xfc, 0x00, 0, 0], None),
            ([0xff, 0x00, 0x90, 0x00, 0, 0], None),
            ([0; 6], None),
        ] {
            assert_eq!(Frame::of(header).map(|frame| frame.bytes), bytes, "{header:x?}");
        }
    }
}
