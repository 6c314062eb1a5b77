//! One channel while it is heard: everything that is kept of it until the recording ends.

use ebur128::{EbuR128, Mode};

use super::activity::{Activity, Step};
use super::clipping::Clipping;
use super::digits::{Digit, Digits};
use super::level::Levels;
use super::resample::Resampler;

/// Highest sample rate that the library for loudness takes part in; telephony has 48 kHz at most.
const LOUDNESS_RATE_MAX: u32 = 192_000;

/// One channel at work.
pub(super) struct Channel {
    clipping: Clipping,
    loudness: Option<EbuR128>,
    resampler: Resampler,
    levels: Levels,
    activity: Activity,
    digits: Digits,
    samples: Vec<i16>,
    resampled: Vec<f32>,
}

/// One channel that was heard.
pub(super) struct Heard {
    pub(super) clipping: Clipping,
    /// By EBU R128; `None` where nothing is loud enough to count.
    pub(super) loudness_lufs: Option<f64>,
    pub(super) levels: Levels,
    pub(super) steps: Vec<Step>,
    pub(super) digits: Vec<Digit>,
}

impl Channel {
    pub(super) fn new(sample_rate: u32, is_thorough: bool) -> Self {
        let loudness = (sample_rate <= LOUDNESS_RATE_MAX).then(|| EbuR128::new(1, sample_rate, Mode::I).ok());
        Self {
            clipping: Clipping::default(),
            loudness: loudness.flatten(),
            resampler: Resampler::new(sample_rate),
            levels: Levels::default(),
            activity: Activity::new(is_thorough),
            digits: Digits::new(),
            samples: Vec::new(),
            resampled: Vec::new(),
        }
    }

    /// Takes the next samples of this channel.
    pub(super) fn hear(&mut self, samples: impl Iterator<Item = i16>) {
        self.samples.clear();
        self.samples.extend(samples);
        self.clipping.hear(&self.samples);
        // It fails on odd numbers of samples alone, and there is one channel.
        if self.loudness.as_mut().is_some_and(|loudness| loudness.add_frames_i16(&self.samples).is_err()) {
            self.loudness = None;
        }
        let samples = self.samples.iter().map(|sample| f32::from(*sample) / 32_768.0);
        self.resampler.take(samples, &mut self.resampled);
        self.levels.hear(&self.resampled);
        self.activity.hear(&self.resampled);
        self.digits.hear(&self.resampled);
    }

    pub(super) fn finish(self) -> Heard {
        let loudness = self.loudness.and_then(|loudness| loudness.loudness_global().ok());
        Heard {
            clipping: self.clipping,
            loudness_lufs: loudness.filter(|lufs| lufs.is_finite()),
            levels: self.levels,
            steps: self.activity.finish(),
            digits: self.digits.finish(),
        }
    }
}
