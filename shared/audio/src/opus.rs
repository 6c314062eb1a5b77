//! The length of Opus packets, which each of them tells itself (RFC 6716, 3). They are not decoded.

/// Opus always counts 48,000 frames a second, whatever went in (RFC 7845, 4).
pub(crate) const RATE: u32 = 48_000;

/// Most frames of a packet: 120 ms.
const PACKET_FRAMES_MAX: u64 = 5760;

/// The frames of a packet that begins like this; `None` for a packet that is none. Two bytes tell.
pub(crate) fn packet_frames(packet: &[u8]) -> Option<u64> {
    let (&toc, rest) = packet.split_first()?;
    let frame = match (toc >> 3, toc >> 3 & 3) {
        (0..12, step @ 0..3) => 480 << step,
        (0..12, _) => 2880,
        (12..16, step) => 480 << (step & 1),
        (_, step) => 120 << step,
    };
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(rest.first()? & 0x3f),
    };
    let frames = frame * count;
    (1..=PACKET_FRAMES_MAX).contains(&frames).then_some(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_tells_its_length() {
        for (packet, frames) in [
            (&[][..], None),
            (&[0 << 3], Some(480)),
            (&[1 << 3], Some(960)),
            (&[2 << 3], Some(1920)),
            (&[3 << 3], Some(2880)),
            (&[11 << 3], Some(2880)),
            (&[12 << 3], Some(480)),
            (&[15 << 3], Some(960)),
            (&[16 << 3], Some(120)),
            (&[31 << 3], Some(960)),
            (&[31 << 3 | 1], Some(1920)),
            (&[3 << 3 | 2], Some(5760)),
            (&[31 << 3 | 3], None),
            (&[31 << 3 | 3, 0], None),
            (&[31 << 3 | 3, 6], Some(5760)),
            (&[31 << 3 | 3, 7], None),
            (&[16 << 3 | 3, 0xc0 | 48], Some(5760)),
        ] {
            assert_eq!(packet_frames(packet), frames, "{packet:x?}");
        }
    }
}
