//! Hears one channel at 8 kHz: decides for each step whether the network has to be asked, and looks for tones and music
//! where it finds no speech.

use std::sync::LazyLock;

use super::level::dbfs;
use super::spectrum::Spectrum;
use super::voice::{BATCH, STEP, Voice};

/// The probability from which on a step is speech.
pub(super) const SPEECH: u8 = share(0.3);

/// The probability below which all steps of a batch must be before the next one may be left out.
const SURE: u8 = share(0.1);

/// How far above the noise, in dB, a step may be and still be taken for noise without asking the network.
const QUIET_DB: f32 = 5.0;

/// The lowest noise, in dBFS: quiet steps below need not be told from silence.
const FLOOR_DBFS: f32 = -72.0;

/// How fast the noise is taken to rise, in dB a step: 1 dB a second. It falls at once.
const FLOOR_RISE_DB: f32 = 0.032;

/// Samples of the parts of a step whose loudest decides: speech may begin in any.
const PART: usize = 64;

/// The level from which on a step that is no speech is looked at for tones and music, in dBFS.
pub(super) const AUDIBLE_DBFS: f32 = -48.0;

/// The probability below which a step may be a tone.
const TONE: u8 = share(0.25);

/// Frequencies of a step, 31.25 Hz apart.
const BINS: usize = STEP / 2 + 1;

/// Hertz from one of them to the next.
const BIN_HZ: f32 = 31.25;

/// The part of the energy that two peaks have in a tone.
const TONE_SHARE: f32 = 0.93;

static SPECTRUM: LazyLock<Spectrum<128, BINS>> = LazyLock::new(Spectrum::new);

/// One step of 32 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// The probability of speech, in 255ths.
    pub(super) speech: u8,
    /// Spectral flatness, in 255ths; where the step is audible and no speech.
    pub(super) flatness: Option<u8>,
    /// The frequency of a tone in hertz; 0 where there is none.
    pub(super) hertz: u16,
}

/// One channel at work.
pub(super) struct Activity {
    voice: Voice,
    pending: Vec<[f32; STEP]>,
    open: Vec<f32>,
    /// The batch that was left out last.
    skipped: Option<[[f32; STEP]; BATCH]>,
    floor_dbfs: f32,
    is_quiet: bool,
    /// Whether the network is asked about each step.
    is_thorough: bool,
    steps: Vec<Step>,
}

impl Activity {
    pub(super) fn new(is_thorough: bool) -> Self {
        Self {
            voice: Voice::new(),
            pending: Vec::with_capacity(BATCH),
            open: Vec::with_capacity(STEP),
            skipped: None,
            floor_dbfs: FLOOR_DBFS,
            is_quiet: false,
            is_thorough,
            steps: Vec::new(),
        }
    }

    /// Takes samples from -1 to 1.
    pub(super) fn hear(&mut self, mut samples: &[f32]) {
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(STEP - self.open.len()));
            self.open.extend_from_slice(now);
            if let Some(step) = self.open.as_chunks().0.first() {
                self.pending.push(*step);
                self.open.clear();
            }
            if self.pending.len() == BATCH {
                self.take();
            }
            samples = later;
        }
    }

    /// All steps. The last may be filled up with silence.
    pub(super) fn finish(mut self) -> Vec<Step> {
        if !self.open.is_empty() {
            let rest = STEP - self.open.len();
            self.hear(&vec![0.0; rest]);
        }
        if !self.pending.is_empty() {
            self.take();
        }
        self.steps
    }

    /// Takes the pending steps.
    fn take(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let is_quiet = self.hears_noise(&pending);
        let was_quiet = std::mem::replace(&mut self.is_quiet, is_quiet);
        let last = self.steps.iter().rev().take(BATCH);
        let is_sure = self.steps.len() >= BATCH && last.clone().all(|step| step.speech < SURE);
        if is_quiet && was_quiet && is_sure && !self.is_thorough && pending.len() == BATCH {
            let speech = last.map(|step| step.speech).min().unwrap_or_default();
            pending.iter().for_each(|step| self.voice.follow(step));
            self.describe(&pending, [speech; BATCH]);
            self.skipped = pending.first_chunk().copied();
        } else {
            if let Some(skipped) = self.skipped.take() {
                self.warm_up(&skipped);
            }
            let probabilities = self.voice.hear(&pending);
            self.describe(&pending, probabilities.map(share));
        }
        self.pending = pending;
        self.pending.clear();
    }

    /// Asks about the batch before, which was left out, so that the network hears how the sound begins.
    fn warm_up(&mut self, skipped: &[[f32; STEP]; BATCH]) {
        let probabilities = self.voice.hear(skipped);
        let first = self.steps.len().saturating_sub(BATCH);
        for (step, probability) in self.steps.iter_mut().skip(first).zip(probabilities) {
            step.speech = share(probability);
        }
    }

    /// Whether all of these steps are no louder than noise. Follows the noise.
    fn hears_noise(&mut self, steps: &[[f32; STEP]]) -> bool {
        let mut is_noise = true;
        for step in steps {
            let power = |samples: &[f32]| samples.iter().map(|sample| sample * sample).sum::<f32>();
            let loudest = step.chunks_exact(PART).map(power).fold(0.0, f32::max);
            is_noise &= dbfs(loudest / 64.0) < self.floor_dbfs + QUIET_DB;
            self.floor_dbfs = dbfs(power(step) / 256.0).clamp(FLOOR_DBFS, self.floor_dbfs + FLOOR_RISE_DB);
        }
        is_noise
    }

    /// Keeps what the steps are, and looks at those that are sound without being speech.
    fn describe(&mut self, steps: &[[f32; STEP]], speech: [u8; BATCH]) {
        let audible = |step: &[f32; STEP]| {
            dbfs(step.iter().map(|sample| sample * sample).sum::<f32>() / 256.0) >= AUDIBLE_DBFS
        };
        for (step, speech) in steps.iter().zip(speech) {
            let mut new = Step { speech, flatness: None, hertz: 0 };
            if speech < SPEECH && audible(step) {
                let column = step.map(|sample| [sample]);
                let mut magnitudes = [[0.0]; BINS];
                SPECTRUM.magnitudes(&column, &mut magnitudes);
                let powers = magnitudes.map(|[magnitude]| magnitude * magnitude);
                new.flatness = Some(share(flatness(&powers)));
                new.hertz = if speech < TONE { tone(&powers) } else { 0 };
            }
            self.steps.push(new);
        }
    }
}

/// A share in 255ths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 255; NaN becomes 0")]
pub(super) const fn share(share: f32) -> u8 {
    (share * 255.0 + 0.5) as u8
}

/// The geometric mean of the powers by their arithmetic mean: 1 for white noise, near 0 for tones.
fn flatness(powers: &[f32; BINS]) -> f32 {
    let inner = powers.iter().skip(1);
    let count = 128.0;
    let logarithms: f32 = inner.clone().map(|power| power.max(1e-12).ln()).sum();
    (logarithms / count).exp() / (inner.sum::<f32>() / count).max(1e-12)
}

/// The frequency of one tone, or the middle of two, where nothing else is heard. 0 where something is.
fn tone(powers: &[f32; BINS]) -> u16 {
    let total: f32 = powers.iter().sum();
    let (first, rest) = peak(powers);
    let (second, _) = peak(&rest);
    if first.0 + second.0 < TONE_SHARE * total {
        return 0;
    }
    // A leak beside a peak is no second tone.
    let is_pair = second.0 > 0.1 * first.0;
    let middle = if is_pair { (first.1 + second.1) / (first.0 + second.0) } else { first.1 / first.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 4,000")]
    let hertz = (middle * BIN_HZ).round() as u16;
    hertz
}

/// The energy of the highest peak and the two places beside it on each side, and its product with their places; and what is
/// left without it.
fn peak(powers: &[f32; BINS]) -> ((f32, f32), [f32; BINS]) {
    let mut rest = *powers;
    let place =
        powers.iter().enumerate().max_by(|one, other| one.1.total_cmp(other.1)).map_or(0, |(at, _)| at);
    let (mut energy, mut moment) = (0.0, 0.0);
    let mut bin = 0.0;
    for (at, power) in rest.iter_mut().enumerate() {
        if at.abs_diff(place) <= 2 {
            energy += *power;
            moment += *power * bin;
            *power = 0.0;
        }
        bin += 1.0;
    }
    ((energy, moment), rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::sounds::{noise, tones};

    fn steps(samples: &[f32]) -> Vec<Step> {
        let mut activity = Activity::new(false);
        samples.chunks(1_000).for_each(|block| activity.hear(block));
        activity.finish()
    }

    #[test]
    fn tones_have_their_frequency_and_noise_has_none() {
        for (pair, hertz) in [
            (&[(440.0, -20.0), (480.0, -20.0)][..], 460),
            (&[(480.0, -20.0), (620.0, -20.0)], 550),
            (&[(425.0, -15.0)], 425),
            (&[(1_100.0, -20.0)], 1_100),
            (&[(2_100.0, -30.0)], 2_100),
        ] {
            let steps = steps(&tones(pair, 16_000));
            let right = steps.iter().filter(|step| step.hertz.abs_diff(hertz) <= 16).count();
            assert!(right * 10 >= steps.len() * 8, "{hertz}: {steps:?}");
        }
        let steps = steps(&noise(16_000, -30.0, 1));
        assert!(
            steps.iter().all(|step| step.hertz == 0 && step.flatness.is_none_or(|flat| flat > share(0.3)))
        );
    }

    #[test]
    fn every_sample_has_its_step() {
        for samples in [1, 255, 256, 257, 1_024, 1_025, 9_999] {
            assert_eq!(steps(&vec![0.0; samples]).len(), samples.div_ceil(STEP), "{samples}");
        }
        assert!(steps(&[]).is_empty());
    }
}
