//! Sounds that tests make: tones, noise, and silence, at 8 kHz.

use std::f64::consts::TAU;

/// So many samples of these frequencies, each with its level in dBFS.
#[expect(clippy::cast_possible_truncation, reason = "single precision is meant")]
pub(super) fn tones(tones: &[(f64, f32)], samples: u32) -> Vec<f32> {
    let at = |sample: u32| {
        tones.iter().map(move |(hertz, dbfs)| {
            let amplitude = 10.0_f64.powf(f64::from(*dbfs) / 20.0) * 2.0_f64.sqrt();
            amplitude * (f64::from(sample) / 8_000.0 * hertz * TAU).sin()
        })
    };
    (0..samples).map(|sample| at(sample).sum::<f64>() as f32).collect()
}

/// White noise of this level.
pub(super) fn noise(samples: usize, dbfs: f32, seed: u64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    // A uniform distribution from -1 to 1 has a mean square of a third.
    let amplitude = 10.0_f32.powf(dbfs / 20.0) * 3.0_f32.sqrt();
    (0..samples).map(|_| (random.f32() * 2.0 - 1.0) * amplitude).collect()
}

/// As samples of 16 bits.
#[expect(clippy::cast_possible_truncation, reason = "what is beyond the range is clipped")]
pub(super) fn sixteen(samples: &[f32]) -> Vec<i16> {
    samples.iter().map(|sample| (sample * 32_767.0).round() as i16).collect()
}
