//! Samples that were louder than their codec can say.

/// Samples in a row at the end of the range that count as clipped.
const RUN: u32 = 3;

/// Where the end of the range begins, a 64th below it: of both laws of G.711, 32,256 and 32,124, and of plain samples.
const ENDS: [u16; 2] = [31_622, 32_255];

/// Counts the clipped samples of one channel, and finds the highest.
#[derive(Default)]
pub(super) struct Clipping {
    runs: [u32; 2],
    clipped: [u64; 2],
    samples: u64,
    peak: u16,
}

impl Clipping {
    /// Takes the next samples.
    pub(super) fn hear(&mut self, samples: &[i16]) {
        let highest = samples.iter().fold(0, |highest: u16, sample| highest.max(sample.unsigned_abs()));
        self.samples += samples.len() as u64;
        self.peak = self.peak.max(highest);
        for ((end, run), clipped) in ENDS.iter().zip(&mut self.runs).zip(&mut self.clipped) {
            if highest < *end {
                *run = 0;
                continue;
            }
            for sample in samples {
                *run = if sample.unsigned_abs() >= *end { run.saturating_add(1) } else { 0 };
                *clipped += match *run {
                    0..RUN => 0,
                    RUN => u64::from(RUN),
                    _ => 1,
                };
            }
        }
    }

    /// The highest sample, in dB below full scale.
    pub(super) fn peak_dbfs(&self) -> f32 {
        let peak = f32::from(self.peak) / 32_768.0;
        super::level::dbfs(peak * peak)
    }

    /// The share of samples that are clipped. `None` for codecs that smear it.
    pub(super) fn share(&self, codec: &str) -> Option<f64> {
        let [laws, plain] = self.clipped;
        let clipped = match codec {
            "pcm_alaw" | "pcm_mulaw" => laws,
            "flac" | "alac" => plain,
            _ if codec.starts_with("pcm_") => plain,
            _ => return None,
        };
        #[expect(clippy::cast_precision_loss, reason = "2^53 samples are years")]
        Some(clipped as f64 / self.samples.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_at_the_end_of_the_range_are_clipped_however_they_come() {
        let samples = [0, 32_256, 32_256, 0, 32_767, 32_767, -32_768, -32_768, 0, 31_000, 31_000, 31_000];
        for block in 1..=samples.len() {
            let mut clipping = Clipping::default();
            samples.chunks(block).for_each(|block| clipping.hear(block));
            assert_eq!(clipping.share("pcm_s16le"), Some(4.0 / 12.0), "{block}");
            assert_eq!(clipping.share("pcm_alaw"), Some(4.0 / 12.0), "{block}");
            assert_eq!(clipping.share("mp3"), None);
            assert_eq!(clipping.peak_dbfs(), 0.0);
        }
        let mut law = Clipping::default();
        law.hear(&[32_124; 5]);
        assert_eq!((law.share("pcm_mulaw"), law.share("pcm_s16le")), (Some(1.0), Some(0.0)));
    }
}
