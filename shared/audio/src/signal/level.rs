//! How loud sound is: levels of 10 ms, and those of speech and of noise.

use super::stretch::Stretch;

/// Samples of a level: 10 ms at 8 kHz.
pub(super) const TICK_SAMPLES: usize = 80;

/// The level of silence, in dB below full scale. Everything below counts as this.
pub(super) const SILENCE_DBFS: f32 = -100.0;

/// Steps of a stored level in a decibel.
const STEPS: f32 = 2.5;

/// The levels of a channel, each in a byte: 0 is full scale, and every step 0.4 dB less.
#[derive(Default)]
pub(super) struct Levels {
    stored: Vec<u8>,
    power: f32,
    count: usize,
}

impl Levels {
    /// Takes samples from -1 to 1.
    pub(super) fn hear(&mut self, mut samples: &[f32]) {
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(TICK_SAMPLES - self.count));
            self.power += now.iter().map(|sample| sample * sample).sum::<f32>();
            self.count += now.len();
            if self.count == TICK_SAMPLES {
                self.stored.push(stored(dbfs(self.power / 80.0)));
                (self.power, self.count) = (0.0, 0);
            }
            samples = later;
        }
    }

    pub(super) fn ticks(&self) -> usize {
        self.stored.len()
    }

    /// The level at a tick; before the first and behind the last there is silence.
    pub(super) fn at(&self, tick: usize) -> f32 {
        self.stored.get(tick).map_or(SILENCE_DBFS, |stored| f32::from(*stored) / -STEPS)
    }

    /// The loudest of the ticks up to `reach` before and after one.
    pub(super) fn loudest(&self, tick: usize, reach: usize) -> f32 {
        let around = self.stored.get(tick.saturating_sub(reach)..(tick + reach + 1).min(self.stored.len()));
        let least = around.unwrap_or_default().iter().min();
        least.map_or(SILENCE_DBFS, |stored| f32::from(*stored) / -STEPS)
    }

    /// The mean power of the ticks in the stretches; `None` where there are none.
    pub(super) fn mean(&self, stretches: &[Stretch]) -> Option<f32> {
        let (mut power, mut count) = (0.0_f64, 0_u32);
        for stretch in stretches {
            for stored in self.of(*stretch) {
                power += 10.0_f64.powf(f64::from(*stored) / f64::from(-10.0 * STEPS));
                count += 1;
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "a level")]
        (count > 0).then(|| dbfs((power / f64::from(count)) as f32))
    }

    /// The median level of the ticks in the stretches; `None` where there are none.
    pub(super) fn median(&self, stretches: &[Stretch]) -> Option<f32> {
        let mut counts = [0_usize; 256];
        for stored in stretches.iter().flat_map(|stretch| self.of(*stretch)) {
            if let Some(count) = counts.get_mut(usize::from(*stored)) {
                *count += 1;
            }
        }
        let half = counts.iter().sum::<usize>().div_ceil(2);
        let mut seen = 0;
        let median = (0_u8..=u8::MAX).zip(counts).find(|(_, count)| {
            seen += count;
            half > 0 && seen >= half
        });
        median.map(|(stored, _)| f32::from(stored) / -STEPS)
    }

    /// The standard deviation of the levels in a stretch, in dB.
    pub(super) fn deviation(&self, stretch: Stretch) -> f32 {
        let levels = self.of(stretch);
        let count = levels.len().max(1) as f64;
        let mean = levels.iter().map(|stored| f64::from(*stored)).sum::<f64>() / count;
        let square = levels.iter().map(|stored| (f64::from(*stored) - mean).powi(2)).sum::<f64>() / count;
        #[expect(clippy::cast_possible_truncation, reason = "below 128")]
        let deviation = square.sqrt() as f32;
        deviation / STEPS
    }

    fn of(&self, stretch: Stretch) -> &[u8] {
        let at = |tick: u32| usize::try_from(tick).unwrap_or(usize::MAX).min(self.stored.len());
        self.stored.get(at(stretch.start)..at(stretch.end)).unwrap_or_default()
    }
}

/// Decibels below full scale, of the mean square of samples from -1 to 1.
pub(super) fn dbfs(power: f32) -> f32 {
    (10.0 * power.max(1e-10).log10()).clamp(SILENCE_DBFS, 0.0)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 250")]
fn stored(dbfs: f32) -> u8 {
    (dbfs * -STEPS).round().clamp(0.0, 250.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_right_to_a_quarter_of_a_decibel() {
        for level in 1..95_u8 {
            let amplitude = 10.0_f32.powf(f32::from(level) / -20.0);
            let samples: Vec<f32> =
                (0..800).map(|at| if at % 2 == 0 { amplitude } else { -amplitude }).collect();
            let mut levels = Levels::default();
            for block in samples.chunks(33) {
                levels.hear(block);
            }
            assert_eq!(levels.ticks(), 10);
            let whole = [Stretch { start: 0, end: 10 }];
            for found in [levels.at(4), levels.mean(&whole).unwrap(), levels.median(&whole).unwrap()] {
                assert!((found + f32::from(level)).abs() <= 0.25, "{level}: {found}");
            }
            assert!(levels.deviation(Stretch { start: 0, end: 10 }) < 0.25);
        }
    }

    #[test]
    fn silence_and_full_scale_are_the_ends() {
        let mut levels = Levels::default();
        levels.hear(&[0.0; TICK_SAMPLES]);
        levels.hear(&[2.0; TICK_SAMPLES]);
        assert_eq!((levels.at(0), levels.at(1), levels.at(2)), (-100.0, 0.0, -100.0));
        assert_eq!((levels.loudest(0, 1), levels.loudest(0, 0)), (0.0, -100.0));
        assert_eq!(levels.mean(&[]), None);
        assert_eq!(levels.median(&[]), None);
    }
}
