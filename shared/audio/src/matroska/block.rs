//! Blocks of Matroska: one packet each, or several that are laced together (RFC 9559, 10).

use super::element::{broken, number};
use crate::input::Input;
use crate::{Refusal, opus};

/// Bytes of the longest lacing: 255 sizes of packets of 64 KiB in Xiph's manner are as long, and a block of speech is far
/// shorter.
const LACED_BYTES_MAX: u64 = 1024 * 1024;

/// The beginning of a block.
pub(super) struct Head {
    pub(super) track: u64,
    /// After the beginning of its cluster, in ticks.
    pub(super) ticks: i16,
    lacing: u8,
}

impl Head {
    /// Reads the beginning of the block that ends at `end`.
    pub(super) fn read(input: &mut Input, end: u64) -> Result<Self, Refusal> {
        let (track, _) = number(input, 8, false)?;
        let [t0, t1, flags] = input.read()?.ok_or(Refusal::Truncated)?;
        if input.position() > end {
            return Err(broken());
        }
        Ok(Self { track, ticks: i16::from_be_bytes([t0, t1]), lacing: flags >> 1 & 3 })
    }

    /// The frames of the block's packets of Opus. The input is behind the beginning of the block.
    pub(super) fn opus_frames(&self, input: &mut Input, end: u64) -> Result<u64, Refusal> {
        let bytes = end.saturating_sub(input.position());
        let wanted = if self.lacing == 0 { bytes.min(2) } else { bytes };
        if wanted > LACED_BYTES_MAX {
            return Err(broken());
        }
        let mut content = vec![0; usize::try_from(wanted).unwrap_or(0)];
        if !input.fill(&mut content)? {
            return Err(Refusal::Truncated);
        }
        let mut frames = 0;
        let mut rest = content.as_slice();
        for size in sizes(self.lacing, &mut rest).ok_or_else(broken)? {
            let (packet, after) = rest.split_at_checked(size).ok_or_else(broken)?;
            frames += opus::packet_frames(packet).ok_or_else(broken)?;
            rest = after;
        }
        Ok(frames)
    }
}

/// The sizes of the packets in a block, whose beginning they are taken off; 256 at most.
fn sizes(lacing: u8, rest: &mut &[u8]) -> Option<Vec<usize>> {
    if lacing == 0 {
        return Some(vec![rest.len()]);
    }
    let count = usize::from(byte(rest)?) + 1;
    let mut sizes = Vec::with_capacity(count);
    match lacing {
        1 => {
            for _ in 1..count {
                let mut size = 0;
                loop {
                    let part = byte(rest)?;
                    size += usize::from(part);
                    if part < 255 {
                        break;
                    }
                }
                sizes.push(size);
            }
        }
        2 => return rest.len().is_multiple_of(count).then(|| vec![rest.len() / count; count]),
        _ => {
            let mut size = 0;
            for index in 1..count {
                let (value, bits) = ebml(rest)?;
                // The first is a size, each further one a difference, whose middle is zero.
                size = if index == 1 { value } else { size + value - ((1_i64 << (bits - 1)) - 1) };
                sizes.push(usize::try_from(size).ok()?);
            }
        }
    }
    let laced = sizes.iter().try_fold(0_usize, |sum, size| sum.checked_add(*size))?;
    sizes.push(rest.len().checked_sub(laced)?);
    Some(sizes)
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (&first, after) = rest.split_first()?;
    *rest = after;
    Some(first)
}

/// A number of one to four bytes, and how many bits it has.
fn ebml(rest: &mut &[u8]) -> Option<(i64, u32)> {
    let first = byte(rest)?;
    let zeros = first.leading_zeros();
    if zeros >= 4 {
        return None;
    }
    let mut value = i64::from(first & !(0x80 >> zeros));
    for _ in 0..zeros {
        value = value << 8 | i64::from(byte(rest)?);
    }
    Some((value, 7 * (zeros + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lacing_tells_the_sizes_of_its_packets() {
        for (lacing, content, expected) in [
            (0, &[9; 5][..], Some(vec![5])),
            (1, &[2, 255, 1, 3], None),
            (2, &[1, 9, 9, 9, 9], Some(vec![2, 2])),
            (2, &[1, 9, 9, 9], None),
            (3, &[2, 0x82, 0xc0, 9, 9, 9, 9, 9, 9], Some(vec![2, 3, 1])),
            (3, &[2, 0x82, 0x80, 9], None),
            (3, &[1, 0x00], None),
            (1, &[], None),
        ] {
            assert_eq!(sizes(lacing, &mut &*content), expected, "{lacing} {content:?}");
        }
        let mut xiph = vec![2, 255, 1, 3];
        xiph.extend_from_slice(&[9; 256 + 3 + 7]);
        assert_eq!(sizes(1, &mut xiph.as_slice()), Some(vec![256, 3, 7]));
    }
}
