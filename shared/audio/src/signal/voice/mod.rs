//! The network that tells speech from everything else: Silero VAD v6 at 8 kHz, computed here.
//!
//! One step takes 256 samples, the 32 before them, and their last 32 mirrored: four frames of 128, 64 apart. Their
//! magnitudes go through four convolutions, an LSTM and a last layer, which gives the probability of speech. Everything but
//! the LSTM's state is computed for several steps at once, since the weights are larger than a processor's nearest caches.

use std::sync::LazyLock;

mod weights;

use super::dense::{rectify, sigmoid, tanh};
use super::spectrum::Spectrum;
use weights::{STATE, Weights};

/// Samples of a step: 32 ms.
pub(super) const STEP: usize = 256;

/// Steps that are computed together.
pub(super) const BATCH: usize = 4;

/// Samples before a step that it looks at, and as many mirrored ones behind it.
const CONTEXT: usize = 32;

/// Samples of a frame.
const FRAME: usize = 128;

/// Samples from one frame to the next.
const HOP: usize = 64;

/// Frequencies of a frame: 0 to 4 kHz.
const BINS: usize = 65;

/// Frames of a step.
const FRAMES: usize = 4;

/// Samples of a step with those around it.
const SEEN: usize = CONTEXT + STEP + CONTEXT;

static NETWORK: LazyLock<(Spectrum<HOP, BINS>, Weights)> =
    LazyLock::new(|| (Spectrum::new(), Weights::load()));

/// The network at one channel.
pub(super) struct Voice {
    context: [f32; CONTEXT],
    hidden: [[f32; 1]; STATE],
    cell: [f32; STATE],
}

impl Voice {
    pub(super) const fn new() -> Self {
        Self { context: [0.0; CONTEXT], hidden: [[0.0]; STATE], cell: [0.0; STATE] }
    }

    /// The probabilities of speech in so many steps, of samples from -1 to 1. Those behind the given ones are to be
    /// left alone.
    pub(super) fn hear(&mut self, steps: &[[f32; STEP]]) -> [f32; BATCH] {
        let (spectrum, weights) = &*NETWORK;
        let mut magnitudes = [[0.0; BATCH]; FRAMES * BINS];
        let seen = self.seen(steps);
        for (frame, out) in magnitudes.chunks_exact_mut(BINS).enumerate() {
            let samples: [[f32; BATCH]; FRAME] =
                std::array::from_fn(|sample| seen.get(frame * HOP + sample).copied().unwrap_or_default());
            spectrum.magnitudes(&samples, out);
        }
        let gates = convolved(weights, &magnitudes);
        let mut probabilities = [0.0; BATCH];
        for (step, probability) in probabilities.iter_mut().enumerate().take(steps.len()) {
            *probability = self.advance(weights, &gates, step);
        }
        probabilities
    }

    /// The samples of each step with those around it, a column a step.
    fn seen(&mut self, steps: &[[f32; STEP]]) -> [[f32; BATCH]; SEEN] {
        let mut seen = [[0.0; BATCH]; SEEN];
        for (column, step) in steps.iter().enumerate().take(BATCH) {
            // The last sample is the mirror, and has no image.
            let mirrored = step.iter().rev().skip(1).take(CONTEXT);
            let samples = self.context.iter().chain(step).chain(mirrored);
            for (row, sample) in seen.iter_mut().zip(samples) {
                if let Some(value) = row.get_mut(column) {
                    *value = *sample;
                }
            }
            self.follow(step);
        }
        seen
    }

    /// Takes a step as heard without computing it.
    pub(super) fn follow(&mut self, step: &[f32; STEP]) {
        if let Some(last) = step.last_chunk() {
            self.context = *last;
        }
    }

    /// One step of the LSTM and the last layer.
    fn advance(&mut self, weights: &Weights, input: &[[f32; BATCH]; 4 * STATE], step: usize) -> f32 {
        let mut gates = [[0.0; 1]; 4 * STATE];
        weights.lstm_state.multiply(&self.hidden, 0, &mut gates);
        for ([gate], input) in gates.iter_mut().zip(input) {
            *gate += input.get(step).copied().unwrap_or_default();
        }
        let (now, rest) = gates.split_at(STATE);
        let (kept, rest) = rest.split_at(STATE);
        let (new, shown) = rest.split_at(STATE);
        for ((((cell, hidden), [now]), [kept]), ([new], [shown])) in
            self.cell.iter_mut().zip(&mut self.hidden).zip(now).zip(kept).zip(new.iter().zip(shown))
        {
            *cell = sigmoid(*kept) * *cell + sigmoid(*now) * tanh(*new);
            *hidden = [sigmoid(*shown) * tanh(*cell)];
        }
        let terms = self.hidden.iter().zip(&weights.last).map(|([hidden], weight)| hidden.max(0.0) * weight);
        sigmoid(terms.sum::<f32>() + weights.last_bias)
    }
}

/// From magnitudes to the LSTM's input.
fn convolved(weights: &Weights, magnitudes: &[[f32; BATCH]; FRAMES * BINS]) -> [[f32; BATCH]; 4 * STATE] {
    let [first, second, third, fourth] = &weights.convolutions;
    let times = |rows: &[[f32; BATCH]], width: usize, from: usize, to: usize| {
        rows.get(from * width..(to * width).min(rows.len())).unwrap_or_default().to_vec()
    };
    let mut wide = [[0.0; BATCH]; 4 * 128];
    for (time, out) in wide.chunks_exact_mut(128).enumerate() {
        // Before the first and behind the last frame there are zeros.
        let rows = times(magnitudes, BINS, time.saturating_sub(1), time + 2);
        first.multiply(&rows, if time == 0 { BINS } else { 0 }, out);
    }
    rectify(&mut wide);
    let mut narrow = [[0.0; BATCH]; 2 * 64];
    for (time, out) in narrow.chunks_exact_mut(64).enumerate() {
        let rows = times(&wide, 128, (2 * time).saturating_sub(1), 2 * time + 2);
        second.multiply(&rows, if time == 0 { 128 } else { 0 }, out);
    }
    rectify(&mut narrow);
    let mut single = [[0.0; BATCH]; 64];
    third.multiply(&narrow, 64, &mut single);
    rectify(&mut single);
    let mut features = [[0.0; BATCH]; STATE];
    fourth.multiply(&single, 64, &mut features);
    rectify(&mut features);
    let mut gates = [[0.0; BATCH]; 4 * STATE];
    weights.lstm_input.multiply(&features, 0, &mut gates);
    gates
}

#[cfg(test)]
mod tests;
