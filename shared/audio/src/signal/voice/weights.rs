//! The weights of the network: the 8 kHz half of Silero VAD v6, from the file beside this one.
//!
//! It holds little-endian IEEE half floats, row-major: four convolutions of width 3, each weights `[output][input][3]` and
//! bias; the LSTM's weights of input and state, each `[512][128]`, and bias; the last layer's 128 weights and bias.

use crate::signal::dense::Matrix;

/// Silero VAD v6.2.3, under the licence beside it.
const FILE: &[u8] = include_bytes!("silero-8k.f16");

/// Taps of each convolution.
pub(super) const TAPS: usize = 3;

/// Values of the LSTM's state.
pub(super) const STATE: usize = 128;

/// All weights, packed.
pub(super) struct Weights {
    /// 65 to 128, 128 to 64, 64 to 64, 64 to 128: their inputs are tap by tap.
    pub(super) convolutions: [Matrix<8>; 4],
    pub(super) lstm_input: Matrix<8>,
    pub(super) lstm_state: Matrix<32>,
    pub(super) last: Vec<f32>,
    pub(super) last_bias: f32,
}

impl Weights {
    /// Unpacks the file.
    pub(super) fn load() -> Self {
        let mut numbers = FILE.as_chunks().0.iter().map(|&half| from_half(u16::from_le_bytes(half)));
        let convolutions = [(65, 128), (128, 64), (64, 64), (64, 128)].map(|(inputs, outputs)| {
            let weights = take(&mut numbers, outputs * inputs * TAPS);
            let bias = take(&mut numbers, outputs);
            let weight = |output: usize, tapped: usize| {
                at(&weights, (output * inputs + tapped % inputs) * TAPS + tapped / inputs)
            };
            Matrix::pack(outputs, inputs * TAPS, weight, |output| at(&bias, output))
        });
        let [input, state] = [(); 2].map(|()| take(&mut numbers, 4 * STATE * STATE));
        let bias = take(&mut numbers, 4 * STATE);
        Self {
            convolutions,
            lstm_input: Matrix::pack(4 * STATE, STATE, |o, i| at(&input, o * STATE + i), |o| at(&bias, o)),
            lstm_state: Matrix::pack(4 * STATE, STATE, |o, i| at(&state, o * STATE + i), |_| 0.0),
            last: take(&mut numbers, STATE),
            last_bias: numbers.next().unwrap_or_default(),
        }
    }
}

fn take(numbers: &mut impl Iterator<Item = f32>, count: usize) -> Vec<f32> {
    numbers.by_ref().take(count).collect()
}

fn at(numbers: &[f32], index: usize) -> f32 {
    numbers.get(index).copied().unwrap_or_default()
}

/// IEEE 754's binary16. The file has neither infinities nor what is not a number.
fn from_half(half: u16) -> f32 {
    let (sign, exponent, fraction) = (half >> 15, i32::from(half >> 10 & 0x1f), f32::from(half & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2.0_f32.powi(-24),
        _ => (1024.0 + fraction) * 2.0_f32.powi(exponent - 25),
    };
    if sign == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_whole() {
        let count: usize =
            [(65, 128), (128, 64), (64, 64), (64, 128)].iter().map(|(i, o)| i * o * 3 + o).sum();
        assert_eq!(FILE.len(), 2 * (count + 2 * 512 * 128 + 512 + 129));
        assert!(FILE.as_chunks::<2>().0.iter().all(|half| half[1] >> 2 & 0x1f != 0x1f));
    }

    #[test]
    fn halves_have_their_known_values() {
        for (half, value) in [
            (0, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x0400, 6.103_515_6e-5),
            (0x3555, 0.333_251_95),
        ] {
            assert_eq!(from_half(half), value, "{half:#x}");
        }
    }
}
