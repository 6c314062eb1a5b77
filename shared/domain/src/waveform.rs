//! The shape of a recording as it is kept in the database. Pure.
//!
//! The format, also for readers of the table: one byte, the version, 1; one byte, the number of channels; two bytes,
//! little-endian, the number of pieces, at most 1,000; then for each channel, and in it for each piece, two signed
//! bytes: the lowest and the highest sample, as 128ths of full scale, rounded away from each other. All pieces of a
//! recording but the last are equally long. A minute of stereo takes 4,004 bytes, and so does an hour.

/// The version that is written.
const VERSION: u8 = 1;

/// Bytes before the peaks.
const HEAD_BYTES: usize = 4;

/// Lowest and highest sample of each piece, by channel.
pub type Peaks<T> = Vec<Vec<(T, T)>>;

/// Writes the peaks of 16-bit samples. Channels beyond 255 and pieces beyond 65,535 don't occur, and are left out; every
/// channel has as many pieces as the first.
#[must_use]
pub fn encode(channels: &[Vec<(i16, i16)>]) -> Vec<u8> {
    let channel_count = u8::try_from(channels.len()).unwrap_or(u8::MAX);
    let piece_count = u16::try_from(channels.first().map_or(0, Vec::len)).unwrap_or(u16::MAX);
    let mut bytes =
        Vec::with_capacity(HEAD_BYTES + usize::from(channel_count) * usize::from(piece_count) * 2);
    bytes.extend([VERSION, channel_count]);
    bytes.extend(piece_count.to_le_bytes());
    for channel in channels.iter().take(usize::from(channel_count)) {
        for index in 0..usize::from(piece_count) {
            let (low, high) = channel.get(index).copied().unwrap_or_default();
            bytes.extend(eighth_bit(low.div_euclid(256)).to_le_bytes());
            bytes.extend(eighth_bit(-(high.saturating_neg().div_euclid(256))).to_le_bytes());
        }
    }
    bytes
}

/// Reads what [`encode`] wrote; `None` when it is anything else.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Peaks<i8>> {
    let (&[version, channel_count, low, high], peaks) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let piece_count = usize::from(u16::from_le_bytes([low, high]));
    let expected = usize::from(channel_count) * piece_count * 2;
    if version != VERSION || piece_count == 0 || peaks.len() != expected {
        return None;
    }
    let channel =
        |bytes: &[u8]| bytes.as_chunks().0.iter().map(|&[low, high]| (signed(low), signed(high))).collect();
    Some(peaks.chunks_exact(piece_count * 2).map(channel).collect())
}

/// Clamps to a signed byte: +32,767 rounds up to 128, which it can't hold.
fn eighth_bit(value: i16) -> i8 {
    i8::try_from(value).unwrap_or(if value < 0 { i8::MIN } else { i8::MAX })
}

fn signed(byte: u8) -> i8 {
    i8::from_le_bytes([byte])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_gets_smaller() {
        let left = vec![(i16::MIN, i16::MAX), (0, 0), (-1, 1), (-256, 256), (-257, 257)];
        let right = vec![(5, 6), (-6, -5), (1000, 2000), (0, 1), (-1, 0)];
        let bytes = encode(&[left, right]);
        assert_eq!(bytes.len(), 4 + 2 * 5 * 2);
        assert_eq!(bytes[..4], [1, 2, 5, 0]);
        let peaks = decode(&bytes).unwrap();
        assert_eq!(peaks[0], [(-128, 127), (0, 0), (-1, 1), (-1, 1), (-2, 2)]);
        assert_eq!(peaks[1], [(0, 1), (-1, 0), (3, 8), (0, 1), (-1, 0)]);
    }

    #[test]
    fn anything_else_is_refused() {
        let good = encode(&[vec![(0, 0); 1000]]);
        assert_eq!(good.len(), 2004);
        assert!(decode(&good).is_some());
        assert!(decode(&good[..good.len() - 1]).is_none());
        assert!(decode(&[&good[..], &[0]].concat()).is_none());
        for bytes in [&[][..], &[1], &[1, 1, 0, 0], &[2, 1, 1, 0, 0, 0]] {
            assert!(decode(bytes).is_none(), "{bytes:?}");
        }
    }
}
