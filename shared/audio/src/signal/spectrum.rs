//! Magnitudes of the frequencies in a frame of sound.

use std::f64::consts::TAU;

use super::dense::Matrix;

/// The discrete Fourier transform under a Hann window, as two matrices: a frame is folded in the middle, so that its even
/// half gives the real parts and its odd half the imaginary ones.
///
/// Frames have `2 * HALF` samples, and `BINS`, `HALF + 1`, frequencies from 0 to half the sample rate.
pub(in crate::signal) struct Spectrum<const HALF: usize, const BINS: usize> {
    real: Matrix<8>,
    imaginary: Matrix<8>,
}

impl<const HALF: usize, const BINS: usize> Spectrum<HALF, BINS> {
    /// Samples of a frame.
    const FRAME: usize = 2 * HALF;

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "small numbers; single precision is meant"
    )]
    pub(in crate::signal) fn new() -> Self {
        let turn = |product: usize| (product % Self::FRAME) as f64 / Self::FRAME as f64 * TAU;
        let window = |sample: usize| 0.5 - 0.5 * turn(sample).cos();
        let real = |bin: usize, sample: usize| (window(sample) * turn(bin * sample).cos()) as f32;
        let imaginary = |bin: usize, sample: usize| (window(sample) * turn(bin * sample).sin()) as f32;
        Self {
            real: Matrix::pack(BINS, BINS, real, |_| 0.0),
            imaginary: Matrix::pack(BINS, HALF, imaginary, |_| 0.0),
        }
    }

    /// The magnitudes of a frame in each column: rows of samples in, rows of frequencies out.
    pub(in crate::signal) fn magnitudes<const N: usize>(&self, frames: &[[f32; N]], out: &mut [[f32; N]]) {
        let (mut even, mut odd) = ([[0.0; N]; BINS], [[0.0; N]; HALF]);
        let mirrored = frames.iter().skip(1).rev();
        for ((even, frame), mirrored) in
            even.iter_mut().skip(1).zip(frames.iter().skip(1)).zip(mirrored.clone())
        {
            *even = std::array::from_fn(|column| column_of(frame, column) + column_of(mirrored, column));
        }
        for ((odd, frame), mirrored) in odd.iter_mut().skip(1).zip(frames.iter().skip(1)).zip(mirrored) {
            *odd = std::array::from_fn(|column| column_of(frame, column) - column_of(mirrored, column));
        }
        // The first sample has no mirror image, and the middle one is its own.
        if let ([first, .., last], Some(start), Some(middle)) =
            (even.as_mut_slice(), frames.first(), frames.get(HALF))
        {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magnitudes_are_those_of_the_transform_written_out() {
        let frames: Vec<[f32; 2]> =
            (0..16_u8).map(|sample| [f32::from(sample * 7 % 11) - 5.0, f32::from(sample * 5 % 13)]).collect();
        let mut out = [[0.0; 2]; 9];
        Spectrum::<8, 9>::new().magnitudes(&frames, &mut out);
        for (bin, row) in out.iter().enumerate() {
            for (column, found) in row.iter().enumerate() {
                let (mut real, mut imaginary) = (0.0, 0.0);
                for (sample, frame) in frames.iter().enumerate() {
                    let window = 0.5 - 0.5 * (TAU * sample as f64 / 16.0).cos();
                    let angle = TAU * (bin * sample) as f64 / 16.0;
                    real += f64::from(frame[column]) * window * angle.cos();
                    imaginary += f64::from(frame[column]) * window * angle.sin();
                }
                assert!((f64::from(*found) - real.hypot(imaginary)).abs() < 1e-4, "{bin} {column}");
            }
        }
    }
}
