//! Analyses a recording while it is decoded: who speaks when and how loud, tones, digits, echo, and the conversation.
//!
//! [`Signal`] is a listener. It keeps some 300 bytes a second and channel; [`Signal::finish`] computes the
//! results from these. Everything but clipping and loudness is measured at 8 kHz.

use callvine_domain::analysis::results::Results;

use crate::{Facts, Shape};

mod activity;
mod channel;
mod clipping;
mod conversation;
mod dense;
mod digits;
mod echo;
mod flags;
mod level;
mod report;
mod resample;
#[cfg(test)]
mod sounds;
mod spectrum;
mod speech;
mod stretch;
#[cfg(test)]
mod tests;
mod tones;
mod voice;

use channel::Channel;

/// Lowest sample rate that is analysed: below it there is no speech to understand.
const RATE_MIN: u32 = 4_000;

/// Most that is analysed of a recording, in seconds: a day. Anything later is not heard, and the results say so.
const SECONDS_MAX: u64 = 24 * 60 * 60;

/// Which channel of two is the agent's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// The first.
    #[default]
    Left,
    /// The second.
    Right,
}

/// The wishes and facts on which results depend beside the recording.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Which channel of two is the agent's.
    pub agent: Side,
    /// Whether results tell which digits were keyed. People key the numbers of their cards in calls.
    pub keeps_digits: bool,
    /// How long the call was by its own start and end, in seconds, where they are known.
    pub call_seconds: Option<f64>,
    /// Name and version to be written into the results, such as `callvine/0.2.0`.
    pub analyzer: String,
    /// Asks the network about silence too: for comparison, at twice the time.
    pub is_thorough: bool,
}

/// A listener that analyses.
pub struct Signal {
    settings: Settings,
    shape: Option<Shape>,
    channels: Vec<Channel>,
    frames: u64,
}

impl Signal {
    /// An analysis of no samples.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self { settings, shape: None, channels: Vec::new(), frames: 0 }
    }

    /// Takes the next samples: interleaved, whole frames, of one shape throughout. More than two channels are mixed to one.
    pub fn hear(&mut self, shape: Shape, samples: &[i16]) {
        if shape.sample_rate < RATE_MIN || self.shape.is_some_and(|known| known != shape) {
            return;
        }
        if self.shape.is_none() {
            let count = if shape.channels == 2 { 2 } else { 1 };
            let new = || Channel::new(shape.sample_rate, self.settings.is_thorough);
            self.channels.resize_with(count, new);
            self.shape = Some(shape);
        }
        let width = usize::from(shape.channels.max(1));
        let frames_max = SECONDS_MAX * u64::from(shape.sample_rate);
        let room = usize::try_from(frames_max.saturating_sub(self.frames)).unwrap_or(usize::MAX);
        let frames = (samples.len() / width).min(room);
        self.frames += frames as u64;
        let samples = samples.get(..frames * width).unwrap_or_default();
        match self.channels.as_mut_slice() {
            [left, right] => {
                let pairs = samples.as_chunks::<2>().0;
                left.hear(pairs.iter().map(|pair| pair[0]));
                right.hear(pairs.iter().map(|pair| pair[1]));
            }
            [only] if width == 1 => only.hear(samples.iter().copied()),
            [only] => only.hear(samples.chunks_exact(width).map(mixed)),
            _ => {}
        }
    }

    /// The results. `facts` are those of the same recording.
    #[must_use]
    pub fn finish(self, facts: &Facts) -> Results {
        let heard = self.channels.into_iter().map(Channel::finish).collect();
        report::results(heard, self.frames, facts, &self.settings)
    }
}

/// The mean of the samples of all channels.
fn mixed(frame: &[i16]) -> i16 {
    let sum: i32 = frame.iter().map(|sample| i32::from(*sample)).sum();
    i16::try_from(sum / i32::try_from(frame.len().max(1)).unwrap_or(1)).unwrap_or_default()
}
