//! FLAC: walks the blocks before the sound (RFC 9639, 8), then decodes.

use crate::decode::{self, Container};
use crate::input::Input;
use crate::{Facts, Listener, Refusal};

/// The first bytes.
pub(crate) const MAGIC: &[u8] = b"fLaC";

/// Most bytes before the sound: a picture or two and a table of seek points.
const BLOCKS_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Bytes of a seek point behind the number of its sample.
const POINT_REST_BYTES: u64 = 10;

/// A seek point that is a place for a later one.
const PLACEHOLDER: u64 = u64::MAX;

/// Reads the file from `start`, where its mark is.
pub(crate) fn read(input: &mut Input, start: u64, listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    check_blocks(input, start)?;
    decode::read(input, start, Container::Flac, listener)
}

/// Refuses a file whose seek points fall, since a reader sorts them for hours, or that is little but blocks.
fn check_blocks(input: &mut Input, start: u64) -> Result<(), Refusal> {
    let broken = || Refusal::not_audio("the recording is a broken FLAC file");
    input.seek(start.saturating_add(MAGIC.len() as u64))?;
    while input.position().saturating_sub(start) <= BLOCKS_BYTES_MAX {
        let [kind, size @ ..] = input.read::<4>()?.ok_or(Refusal::Truncated)?;
        let [s0, s1, s2] = size;
        let bytes = u64::from(u32::from_be_bytes([0, s0, s1, s2]));
        if bytes > input.left_bytes() {
            return Err(Refusal::Truncated);
        }
        let end = input.position() + bytes;
        if kind & 0x7f == 3 {
            let mut last = None;
            while input.position() + 8 + POINT_REST_BYTES <= end {
                let sample = u64::from_be_bytes(input.read()?.ok_or(Refusal::Truncated)?);
                input.seek(input.position() + POINT_REST_BYTES)?;
                if sample != PLACEHOLDER && last.replace(sample).is_some_and(|last| sample < last) {
                    return Err(broken());
                }
            }
        }
        input.seek(end)?;
        if kind & 0x80 != 0 {
            return Ok(());
        }
    }
    Err(broken())
}
