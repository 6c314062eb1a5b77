//! Sun audio: a short header, most significant byte first, then samples.

use std::borrow::Cow;

use callvine_domain::recording::Verification;

use crate::input::Input;
use crate::pcm::Pcm;
use crate::{Ending, Facts, Listener, Refusal, Shape, samples, seconds};

/// The size of the samples where the writer did not know it.
const SIZE_UNKNOWN: u64 = 0xffff_ffff;

/// Fewest bytes before the samples.
const HEADER_BYTES_MIN: u64 = 24;

pub(crate) fn read(input: &mut Input, listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    input.seek(4)?;
    let mut word =
        || -> Result<u32, Refusal> { Ok(u32::from_be_bytes(input.read()?.ok_or(Refusal::Truncated)?)) };
    let [start, promised, encoding, rate, channels] = [word()?, word()?, word()?, word()?, word()?];
    let shape = Shape::new(u16::try_from(channels).unwrap_or(u16::MAX), rate)?;
    let start = u64::from(start);
    if start < HEADER_BYTES_MIN {
        return Err(Refusal::not_audio("the recording is a broken Sun audio file"));
    }
    let left = input.length_bytes().checked_sub(start).ok_or(Refusal::Truncated)?;
    let (bytes, ending) = match u64::from(promised) {
        0 | SIZE_UNKNOWN => (left, Ending::Open),
        promised => samples::promised(promised, left, start)?,
    };
    input.seek(start)?;
    let pcm = match encoding {
        1 => Pcm::MuLaw,
        2 => Pcm::Signed8,
        3 => Pcm::Signed16Be,
        4 => Pcm::Signed24Be,
        5 => Pcm::Signed32Be,
        6 => Pcm::Float32Be,
        7 => Pcm::Float64Be,
        27 => Pcm::ALaw,
        _ => return Ok(Facts { ending, ..walked(encoding, bytes, shape)? }),
    };
    let facts = samples::read(input, shape, pcm, bytes, listener)?;
    Ok(Facts { media_type: "audio/basic", ending, ..facts })
}

/// The facts of samples that are not decoded here: so many bits each.
fn walked(encoding: u32, bytes: u64, shape: Shape) -> Result<Facts, Refusal> {
    let (codec, bits) = match encoding {
        23 => ("adpcm_g726le", 4),
        24 => ("adpcm_g722", 4),
        25 => ("adpcm_g726le", 3),
        26 => ("adpcm_g726le", 5),
        _ => {
            let detail = format!("the recording is Sun audio of an unknown codec ({encoding})");
            return Err(Refusal::not_audio(detail));
        }
    };
    let frames = bytes.saturating_mul(8) / bits / u64::from(shape.channels);
    if frames == 0 {
        return Err(Refusal::Empty);
    }
    Ok(Facts {
        media_type: "audio/basic",
        codec: Cow::Borrowed(codec),
        duration_seconds: seconds(frames, shape.sample_rate),
        shape,
        verification: Verification::HeaderOnly,
        ending: Ending::Told,
    })
}
