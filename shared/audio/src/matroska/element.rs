//! The elements of Matroska: an ID, a size, and content.

use super::TEXT_BYTES_MAX;
use crate::Refusal;
use crate::input::Input;

pub(super) const SEGMENT: u32 = 0x1853_8067;
pub(super) const CLUSTER: u32 = 0x1f43_b675;
pub(super) const TRACK_ENTRY: u32 = 0xae;
pub(super) const DOC_TYPE: u32 = 0x4282;
pub(super) const TICK_NS: u32 = 0x2a_d7b1;
pub(super) const DURATION: u32 = 0x4489;
pub(super) const TRACK_NUMBER: u32 = 0xd7;
pub(super) const TRACK_TYPE: u32 = 0x83;
pub(super) const CODEC: u32 = 0x86;
pub(super) const CODEC_PRIVATE: u32 = 0x63a2;
pub(super) const CODEC_DELAY: u32 = 0x56aa;
pub(super) const CHANNELS: u32 = 0x9f;
pub(super) const CLUSTER_TICKS: u32 = 0xe7;
pub(super) const SIMPLE_BLOCK: u32 = 0xa3;
pub(super) const BLOCK: u32 = 0xa1;
pub(super) const DISCARD: u32 = 0x75a2;

/// Elements with others in them that matter here: the file's header, the segment, its information, its tracks, what is said
/// of their sound, clusters and groups of blocks.
pub(super) const HOLDS_OTHERS: [u32; 7] =
    [0x1a45_dfa3, SEGMENT, 0x1549_a966, 0x1654_ae6b, 0xe1, CLUSTER, 0xa0];

/// The beginning of an element.
pub(super) struct Element {
    pub(super) id: u32,
    /// Bytes of the content; `None` where the writer did not know.
    pub(super) bytes: Option<u64>,
}

impl Element {
    /// Reads the beginning of the element at this position, and leaves the position at its content.
    pub(super) fn read(input: &mut Input) -> Result<Self, Refusal> {
        let (id, _) = number(input, 4, true)?;
        let (bytes, is_unknown) = number(input, 8, false)?;
        Ok(Self { id: u32::try_from(id).map_err(|_| broken())?, bytes: (!is_unknown).then_some(bytes) })
    }

    /// The offset of the content's end.
    pub(super) fn end(&self, input: &Input) -> Result<u64, Refusal> {
        let bytes = self.bytes.ok_or_else(broken)?;
        if bytes > input.left_bytes() { Err(Refusal::Truncated) } else { Ok(input.position() + bytes) }
    }

    /// The content as a number without a sign.
    pub(super) fn number(&self, input: &mut Input) -> Result<u64, Refusal> {
        let bytes = self.bytes.filter(|bytes| *bytes <= 8).ok_or_else(broken)?;
        let mut value = 0;
        for _ in 0..bytes {
            let [byte] = input.read()?.ok_or(Refusal::Truncated)?;
            value = value << 8 | u64::from(byte);
        }
        Ok(value)
    }

    /// The content as a number with a fraction.
    pub(super) fn float(&self, input: &mut Input) -> Result<f64, Refusal> {
        match self.bytes {
            Some(0) => Ok(0.0),
            Some(4) => Ok(f64::from(f32::from_be_bytes(input.read()?.ok_or(Refusal::Truncated)?))),
            Some(8) => Ok(f64::from_be_bytes(input.read()?.ok_or(Refusal::Truncated)?)),
            _ => Err(broken()),
        }
    }

    /// The content as a short text, without zeros at its end.
    pub(super) fn text(&self, input: &mut Input) -> Result<String, Refusal> {
        let bytes = self.bytes.filter(|bytes| *bytes <= TEXT_BYTES_MAX).ok_or_else(broken)?;
        let mut text = vec![0; usize::try_from(bytes).unwrap_or(0)];
        if !input.fill(&mut text)? {
            return Err(Refusal::Truncated);
        }
        Ok(String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned())
    }
}

/// A number of one to `bytes_max` bytes (RFC 8794, 4), and whether all its bits are set. The zeros before its first bit tell
/// how long it is; an ID keeps that bit.
pub(super) fn number(input: &mut Input, bytes_max: u32, keeps_mark: bool) -> Result<(u64, bool), Refusal> {
    let [first] = input.read()?.ok_or(Refusal::Truncated)?;
    let zeros = first.leading_zeros();
    if zeros >= bytes_max {
        return Err(broken());
    }
    let mark = 0x80_u8 >> zeros;
    let mut value = u64::from(if keeps_mark { first } else { first & !mark });
    for _ in 0..zeros {
        let [byte] = input.read()?.ok_or(Refusal::Truncated)?;
        value = value << 8 | u64::from(byte);
    }
    let all_set = (1_u64 << (7 * (zeros + 1))) - 1;
    Ok((value, value == all_set))
}

pub(super) fn broken() -> Refusal {
    Refusal::not_audio("the recording is a broken Matroska file")
}
