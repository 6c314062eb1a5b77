//! From any sample rate to 8 kHz.

use std::f64::consts::PI;

/// Samples a second of everything that is measured.
pub(super) const RATE: u32 = 8_000;

/// Zero crossings of the filter on each side of its middle.
const CROSSINGS: f64 = 10.0;

/// Most filters, one for each place of an output between two inputs. Rates that would need more share the nearest: that is
/// noise 60 dB below the sound.
const PHASES_MAX: u32 = 512;

/// The part of the lower of the two rates' bands that passes.
const PASSED: f64 = 0.94;

/// A filter of so many taps for each phase. One channel.
pub(super) struct Resampler {
    rate: u32,
    /// None where the rate is 8 kHz already.
    phases: Vec<Vec<f32>>,
    taps: usize,
    /// Samples that are still needed.
    pending: Vec<f32>,
    /// The place of the next output behind the first pending sample, in 8,000ths of an input.
    place: u64,
}

impl Resampler {
    pub(super) fn new(rate: u32) -> Self {
        let mut new = Self { rate, phases: Vec::new(), taps: 0, pending: Vec::new(), place: 0 };
        if rate == RATE || rate == 0 {
            return new;
        }
        let count = (RATE / greatest_common_divisor(RATE, rate)).min(PHASES_MAX);
        let band = f64::from(RATE.min(rate)) / f64::from(rate) * PASSED;
        let reach = (CROSSINGS / band).ceil();
        new.taps = whole(2.0 * reach);
        new.phases =
            (0..count).map(|phase| filter(f64::from(phase) / f64::from(count), band, reach)).collect();
        // The first output is at the first input: before it there is silence.
        new.pending.resize(whole(reach) - 1, 0.0);
        new
    }

    /// Replaces `out` by the samples that can be computed with these.
    pub(super) fn take(&mut self, samples: impl Iterator<Item = f32>, out: &mut Vec<f32>) {
        out.clear();
        if self.phases.is_empty() {
            out.extend(samples);
            return;
        }
        self.pending.extend(samples);
        let count = self.phases.len() as u64;
        let mut first = 0;
        loop {
            let inputs = usize::try_from(self.place / u64::from(RATE)).unwrap_or(usize::MAX);
            let phase = self.place % u64::from(RATE) * count / u64::from(RATE);
            let filter = usize::try_from(phase).ok().and_then(|phase| self.phases.get(phase));
            let window = self.pending.get(inputs..inputs.saturating_add(self.taps));
            let (Some(filter), Some(window)) = (filter, window) else { break };
            out.push(dot(filter, window));
            first = inputs;
            self.place += u64::from(self.rate);
        }
        self.pending.drain(..first);
        self.place -= first as u64 * u64::from(RATE);
    }
}

/// The taps of a low pass of `band` (1: half the input's rate) at so much of a sample behind the middle.
#[expect(clippy::cast_possible_truncation, reason = "single precision is meant")]
fn filter(fraction: f64, band: f64, reach: f64) -> Vec<f32> {
    let tap = |index: usize| {
        let distance = f64::from(u32::try_from(index).unwrap_or(0)) - (reach - 1.0) - fraction;
        let angle = PI * distance * band;
        let sinc = if angle.abs() < 1e-9 { 1.0 } else { angle.sin() / angle };
        let turn = PI * distance / reach;
        // Blackman's window.
        let window = 0.42 + 0.5 * turn.cos() + 0.08 * (2.0 * turn).cos();
        (band * sinc * if distance.abs() < reach { window } else { 0.0 }) as f32
    };
    (0..whole(2.0 * reach)).map(tap).collect()
}

/// In eight sums, which the compiler keeps in vectors.
fn dot(one: &[f32], other: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    let (ones, rest) = one.as_chunks::<8>();
    let (others, other_rest) = other.as_chunks::<8>();
    for (one, other) in ones.iter().zip(others) {
        for ((sum, a), b) in sums.iter_mut().zip(one).zip(other) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest.iter().zip(other_rest).map(|(a, b)| a * b).sum::<f32>()
}

const fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    let (mut a, mut b) = (a, b);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and some thousands")]
const fn whole(number: f64) -> usize {
    number as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::cast_possible_truncation, reason = "single precision is meant")]
    fn resampled(rate: u32, hertz: f64, block: usize) -> Vec<f32> {
        let sample = |at: u32| (f64::from(at) * hertz / f64::from(rate) * 2.0 * PI).sin() as f32;
        let samples: Vec<f32> = (0..rate).map(sample).collect();
        let (mut resampler, mut all, mut out) = (Resampler::new(rate), Vec::new(), Vec::new());
        for block in samples.chunks(block) {
            resampler.take(block.iter().copied(), &mut out);
            all.extend_from_slice(&out);
        }
        all
    }

    #[test]
    fn a_tone_keeps_its_place_and_its_level_at_every_rate() {
        for rate in
            [4_000, 8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 8_001]
        {
            let out = resampled(rate, 1_000.0, 777);
            assert!((7_900..=8_000).contains(&out.len()), "{rate}: {}", out.len());
            for (at, sample) in out.iter().enumerate().skip(200).take(7_500) {
                let expected = (at as f64 / 8.0 * 2.0 * PI).sin();
                assert!((f64::from(*sample) - expected).abs() < 0.01, "{rate}: {sample} {expected} at {at}");
            }
            assert_eq!(out, resampled(rate, 1_000.0, 1), "{rate}");
        }
    }

    #[test]
    fn a_tone_above_the_band_is_gone() {
        for rate in [11_025, 16_000, 44_100, 48_000, 96_000] {
            let out = resampled(rate, 4_700.0, 1_000);
            let loudest =
                out.iter().skip(200).take(7_500).fold(0.0_f32, |most, sample| most.max(sample.abs()));
            assert!(loudest < 0.02, "{rate}: {loudest}");
        }
    }
}
