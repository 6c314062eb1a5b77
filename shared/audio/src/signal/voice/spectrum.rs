//! The network's view of sound: magnitudes of 65 frequencies in each of four frames a step.

use std::f64::consts::TAU;

use super::dense::Matrix;

/// Samples of a frame.
pub(super) const FRAME: usize = 128;

/// Samples from one frame to the next.
pub(super) const HOP: usize = 64;

/// Frequencies of a frame: 0 to 4 kHz.
pub(super) const BINS: usize = FRAME / 2 + 1;

/// The discrete Fourier transform under a Hann window, as two matrices: a frame is folded in the middle, so that its even
/// half gives the real parts and its odd half the imaginary ones.
pub(super) struct Spectrum {
    real: Matrix<8>,
    imaginary: Matrix<8>,
}

impl Spectrum {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small numbers; single precision is meant")]
    pub(super) fn new() -> Self {
        let turn = |product: usize| (product % FRAME) as f64 / FRAME as f64 * TAU;
        let window = |sample: usize| 0.5 - 0.5 * turn(sample).cos();
        let real = |bin: usize, sample: usize| (window(sample) * turn(bin * sample).cos()) as f32;
        let imaginary = |bin: usize, sample: usize| (window(sample) * turn(bin * sample).sin()) as f32;
        Self {
            real: Matrix::pack(BINS, BINS, real, |_| 0.0),
            imaginary: Matrix::pack(BINS, HOP, imaginary, |_| 0.0),
        }
    }

    /// The magnitudes of a frame in each column.
    pub(super) fn magnitudes<const N: usize>(&self, frames: &[[f32; N]; FRAME], out: &mut [[f32; N]]) {
        let (mut even, mut odd) = ([[0.0; N]; BINS], [[0.0; N]; HOP]);
        let mirrored = frames.iter().skip(1).rev();
        for ((even, frame), mirrored) in even.iter_mut().skip(1).zip(frames.iter().skip(1)).zip(mirrored.clone()) {
            *even = std::array::from_fn(|column| column_of(frame, column) + column_of(mirrored, column));
        }
        for ((odd, frame), mirrored) in odd.iter_mut().skip(1).zip(frames.iter().skip(1)).zip(mirrored) {
            *odd = std::array::from_fn(|column| column_of(frame, column) - column_of(mirrored, column));
        }
        // The first sample has no mirror image, and the middle one is its own.
        if let ([first, .., last], Some(start), Some(middle)) = (&mut even, frames.first(), frames.get(HOP)) {
            (*first, *last) = (*start, *middle);
        }
        let mut imaginary = [[0.0; N]; BINS];
        self.real.multiply(&even, 0, out);
        self.imaginary.multiply(&odd, 0, &mut imaginary);
        for (real, imaginary) in out.iter_mut().zip(&imaginary) {
            for (value, imaginary) in real.iter_mut().zip(imaginary) {
                *value = (*value * *value + imaginary * imaginary).sqrt();
            }
        }
    }
}

fn column_of<const N: usize>(row: &[f32; N], column: usize) -> f32 {
    row.get(column).copied().unwrap_or_default()
}
