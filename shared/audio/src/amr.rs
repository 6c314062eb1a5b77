//! AMR, narrow and wide, as files (RFC 4867, 5): frames of 20 ms whose first byte says how long they are.
//!
//! These files are walked and not decoded: there is no free decoder to trust with them.

use std::borrow::Cow;

use callvine_domain::recording::Verification;

use crate::input::Input;
use crate::{Ending, Facts, Refusal, Shape, seconds};

/// The two kinds of AMR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Narrow,
    Wide,
}

/// Bytes of a frame's speech by its type; `None` for types that are not allowed (RFC 4867, 3.6 and 4.1.3; 3GPP TS 26.101
/// and 26.201).
const NARROW: [Option<u64>; 16] = {
    let [n, s] = [None, Some(0)];
    [
        Some(12),
        Some(13),
        Some(15),
        Some(17),
        Some(19),
        Some(20),
        Some(26),
        Some(31),
        Some(5),
        n,
        n,
        n,
        n,
        n,
        n,
        s,
    ]
};
const WIDE: [Option<u64>; 16] = {
    let [n, s] = [None, Some(0)];
    [
        Some(17),
        Some(23),
        Some(32),
        Some(36),
        Some(40),
        Some(46),
        Some(50),
        Some(58),
        Some(60),
        Some(5),
        n,
        n,
        n,
        n,
        s,
        s,
    ]
};

impl Kind {
    pub(crate) fn of(start: &[u8]) -> Option<Self> {
        if start.starts_with(b"#!AMR\n") {
            Some(Self::Narrow)
        } else if start.starts_with(b"#!AMR-WB\n") {
            Some(Self::Wide)
        } else {
            None
        }
    }
}

pub(crate) fn walk(input: &mut Input, start: &[u8]) -> Result<Facts, Refusal> {
    let (media_type, codec, sample_rate, sizes, magic_bytes) = match Kind::of(start) {
        Some(Kind::Narrow) => ("audio/amr", "amr_nb", 8_000, NARROW, 6),
        Some(Kind::Wide) => ("audio/amr-wb", "amr_wb", 16_000, WIDE, 9),
        None => return Err(Refusal::not_audio("the recording is no AMR file")),
    };
    input.seek(magic_bytes)?;
    let mut frames = 0_u64;
    while let Some([head]) = input.read::<1>()? {
        let size = sizes.get(usize::from(head >> 3 & 0x0f)).copied().flatten();
        // The padding bits are zero.
        let size = size.filter(|_| head & 0b1000_0011 == 0);
        let size = size.ok_or_else(|| Refusal::not_audio("the recording is a broken AMR file"))?;
        if size > input.left_bytes() {
            return Err(Refusal::Truncated);
        }
        input.seek(input.position() + size)?;
        frames += 1;
    }
    if frames == 0 {
        return Err(Refusal::Empty);
    }
    Ok(Facts {
        media_type,
        codec: Cow::Borrowed(codec),
        duration_seconds: seconds(frames, 50),
        shape: Shape { channels: 1, sample_rate },
        verification: Verification::HeaderOnly,
        ending: Ending::Told,
    })
}
