//! Plain samples, and those of G.711: from bytes to 16 bits.

/// How samples are written: least significant byte first, or last where the name ends in `Be`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pcm {
    Unsigned8,
    Signed8,
    Signed16,
    Signed16Be,
    Signed24,
    Signed24Be,
    Signed32,
    Signed32Be,
    Float32,
    Float32Be,
    Float64,
    Float64Be,
    ALaw,
    MuLaw,
}

/// G.711's two curves, by code.
const A_LAW: [i16; 256] = curve(true);
const MU_LAW: [i16; 256] = curve(false);

impl Pcm {
    /// ffprobe's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unsigned8 => "pcm_u8",
            Self::Signed8 => "pcm_s8",
            Self::Signed16 => "pcm_s16le",
            Self::Signed16Be => "pcm_s16be",
            Self::Signed24 => "pcm_s24le",
            Self::Signed24Be => "pcm_s24be",
            Self::Signed32 => "pcm_s32le",
            Self::Signed32Be => "pcm_s32be",
            Self::Float32 => "pcm_f32le",
            Self::Float32Be => "pcm_f32be",
            Self::Float64 => "pcm_f64le",
            Self::Float64Be => "pcm_f64be",
            Self::ALaw => "pcm_alaw",
            Self::MuLaw => "pcm_mulaw",
        }
    }

    /// Bytes of one sample of one channel.
    pub(crate) const fn sample_bytes(self) -> u16 {
        match self {
            Self::Unsigned8 | Self::Signed8 | Self::ALaw | Self::MuLaw => 1,
            Self::Signed16 | Self::Signed16Be => 2,
            Self::Signed24 | Self::Signed24Be => 3,
            Self::Signed32 | Self::Signed32Be | Self::Float32 | Self::Float32Be => 4,
            Self::Float64 | Self::Float64Be => 8,
        }
    }

    /// Replaces `samples` by those in `bytes`; a part of a sample at the end is left out.
    pub(crate) fn decode(self, bytes: &[u8], samples: &mut Vec<i16>) {
        samples.clear();
        match self {
            Self::Unsigned8 => samples.extend(bytes.iter().map(|&byte| (i16::from(byte) - 128) << 8)),
            Self::Signed8 => samples.extend(bytes.iter().map(|&byte| i16::from_le_bytes([0, byte]))),
            Self::Signed16 => extend(samples, bytes, i16::from_le_bytes),
            Self::Signed16Be => extend(samples, bytes, i16::from_be_bytes),
            Self::Signed24 => extend(samples, bytes, |[_, low, high]| i16::from_le_bytes([low, high])),
            Self::Signed24Be => extend(samples, bytes, |[high, low, _]| i16::from_le_bytes([low, high])),
            Self::Signed32 => extend(samples, bytes, |[_, _, low, high]| i16::from_le_bytes([low, high])),
            Self::Signed32Be => extend(samples, bytes, |[high, low, _, _]| i16::from_le_bytes([low, high])),
            Self::Float32 => extend(samples, bytes, |four| from_float(f64::from(f32::from_le_bytes(four)))),
            Self::Float32Be => extend(samples, bytes, |four| from_float(f64::from(f32::from_be_bytes(four)))),
            Self::Float64 => extend(samples, bytes, |eight| from_float(f64::from_le_bytes(eight))),
            Self::Float64Be => extend(samples, bytes, |eight| from_float(f64::from_be_bytes(eight))),
            Self::ALaw => samples.extend(bytes.iter().map(|&code| look_up(&A_LAW, code))),
            Self::MuLaw => samples.extend(bytes.iter().map(|&code| look_up(&MU_LAW, code))),
        }
    }
}

/// Adds a sample for every `N` bytes.
fn extend<const N: usize>(samples: &mut Vec<i16>, bytes: &[u8], sample: impl Fn([u8; N]) -> i16) {
    samples.extend(bytes.as_chunks().0.iter().map(|&chunk| sample(chunk)));
}

/// From the range -1 to 1. Values beyond are clipped; one that is not a number is silence.
#[expect(clippy::cast_possible_truncation, reason = "clamped to the range of the target; NaN becomes 0")]
fn from_float(value: f64) -> i16 {
    (value * 32768.0).clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16
}

fn look_up(curve: &[i16; 256], code: u8) -> i16 {
    curve.get(usize::from(code)).copied().unwrap_or_default()
}

const fn curve(a_law: bool) -> [i16; 256] {
    let mut samples = [0; 256];
    let mut code = 0_u8;
    loop {
        #[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
        let sample = &mut samples[code as usize];
        *sample = if a_law { a_law_sample(code) } else { mu_law_sample(code) };
        if code == u8::MAX {
            return samples;
        }
        code += 1;
    }
}

/// ITU-T G.711, table 1, scaled to 16 bits.
const fn a_law_sample(code: u8) -> i16 {
    let code = code ^ 0x55;
    let (segment, step) = ((code & 0x70) >> 4, ((code & 0x0f) as i16) << 4);
    let magnitude = match segment {
        0 => step + 0x008,
        _ => (step + 0x108) << (segment - 1),
    };
    if code & 0x80 == 0 { -magnitude } else { magnitude }
}

/// ITU-T G.711, table 2, scaled to 16 bits.
const fn mu_law_sample(code: u8) -> i16 {
    let code = !code;
    let step = ((code & 0x0f) as i16) << 3;
    let magnitude = ((step + 0x84) << ((code & 0x70) >> 4)) - 0x84;
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(pcm: Pcm, bytes: &[u8]) -> Vec<i16> {
        let mut samples = vec![1, 2, 3];
        pcm.decode(bytes, &mut samples);
        samples
    }

    #[test]
    fn every_width_reaches_both_ends() {
        assert_eq!(decoded(Pcm::Unsigned8, &[0, 128, 255]), [-32768, 0, 32512]);
        assert_eq!(decoded(Pcm::Signed16, &[0, 0x80, 0xff, 0x7f, 9]), [-32768, 32767]);
        assert_eq!(decoded(Pcm::Signed24, &[9, 0, 0x80, 9, 0xff, 0x7f, 9]), [-32768, 32767]);
        assert_eq!(decoded(Pcm::Signed32, &[9, 9, 0, 0x80, 9, 9, 0xff, 0x7f]), [-32768, 32767]);
        let floats: Vec<u8> =
            [-1.0_f32, 0.0, 0.5, 1.0, 7.0, f32::NAN].iter().flat_map(|f| f.to_le_bytes()).collect();
        assert_eq!(decoded(Pcm::Float32, &floats), [-32768, 0, 16384, 32767, 32767, 0]);
        assert_eq!(decoded(Pcm::Float64, &(-0.5_f64).to_le_bytes()), [-16384]);
    }

    #[test]
    fn both_laws_have_their_known_points() {
        assert_eq!(decoded(Pcm::ALaw, &[0xd5, 0x55, 0xaa, 0x2a, 0x80]), [8, -8, 32256, -32256, 5504]);
        assert_eq!(decoded(Pcm::MuLaw, &[0xff, 0x7f, 0x80, 0x00, 0x8f]), [0, 0, 32124, -32124, 16764]);
    }
}
