//! Digits keyed on a telephone (DTMF, ITU-T Q.23): when each was heard.
//!
//! Blocks of 102 samples, 51 apart, as Q.24 times them: the eight tones are measured by Goertzel's algorithm. Two blocks in a
//! row with the same two tones are a digit.

use std::f64::consts::TAU;

/// Samples of a block, and from one block to the next.
const BLOCK: usize = 102;
const HOP: usize = 51;

/// The tones of rows, then those of columns, in hertz.
const TONES: [f64; 8] = [697.0, 770.0, 852.0, 941.0, 1_209.0, 1_336.0, 1_477.0, 1_633.0];

const KEYS: [[char; 4]; 4] =
    [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];

/// Least mean square of a block: 50 dB below full scale.
const POWER_MIN: f32 = 1e-5;

/// Most by which a row's tone may be louder than the column's, or less loud: 8 dB. As much must each be louder than the
/// other tones of its kind.
const RATIO: f32 = 6.31;

/// Least share of the block's energy that the two have.
const SHARE: f32 = 39.0 / 51.0;

/// Blocks that make a digit, and blocks without it that end it.
const HITS: u32 = 2;
const MISSES: u32 = 2;

/// Most digits of a channel that are kept.
const DIGITS_MAX: usize = 10_000;

/// A digit that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digit {
    pub(super) key: char,
    /// In samples.
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Hears the digits of one channel at 8 kHz.
pub(super) struct Digits {
    coefficients: [f32; 8],
    pending: Vec<f32>,
    /// Samples before the pending ones.
    at: u64,
    /// The key of the last block, or of the digit under way.
    key: Option<char>,
    start: u64,
    hits: u32,
    misses: u32,
    found: Vec<Digit>,
}

impl Digits {
    pub(super) fn new() -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "single precision is meant")]
        let coefficients = TONES.map(|hertz| (2.0 * (hertz / 8_000.0 * TAU).cos()) as f32);
        Self {
            coefficients,
            pending: Vec::with_capacity(2 * BLOCK),
            at: 0,
            key: None,
            start: 0,
            hits: 0,
            misses: 0,
            found: Vec::new(),
        }
    }

    /// Takes samples from -1 to 1.
    pub(super) fn hear(&mut self, samples: &[f32]) {
        self.pending.extend_from_slice(samples);
        let mut used = 0;
        while let Some(block) = self.pending.get(used..used + BLOCK) {
            let key = key_of(block, &self.coefficients);
            self.step(key);
            used += HOP;
            self.at += HOP as u64;
        }
        self.pending.drain(..used);
    }

    /// All digits, in order. At most 10,000.
    pub(super) fn finish(self) -> Vec<Digit> {
        self.found
    }

    fn step(&mut self, key: Option<char>) {
        if key.is_some() && key == self.key {
            (self.hits, self.misses) = (self.hits + 1, 0);
            let end = self.at + BLOCK as u64;
            if self.hits > HITS {
                if let Some(digit) = self.found.last_mut() {
                    digit.end = end;
                }
            } else if self.hits == HITS && self.found.len() < DIGITS_MAX {
                self.found.extend(key.map(|key| Digit { key, start: self.start, end }));
            }
            return;
        }
        self.misses += 1;
        // A digit goes on over a single bad block; what is no digit yet ends at once.
        if key.is_some() || self.hits < HITS || self.misses >= MISSES {
            (self.key, self.start, self.hits, self.misses) = (key, self.at, u32::from(key.is_some()), 0);
        }
    }
}

/// The key whose two tones make up this block.
fn key_of(block: &[f32], coefficients: &[f32; 8]) -> Option<char> {
    let energy: f32 = block.iter().map(|sample| sample * sample).sum();
    if energy < POWER_MIN * 102.0 {
        return None;
    }
    let (mut last, mut before) = ([0.0_f32; 8], [0.0_f32; 8]);
    for sample in block {
        let next: [f32; 8] = std::array::from_fn(|_| *sample);
        let mut next = next;
        for (((next, coefficient), last), before) in next.iter_mut().zip(coefficients).zip(&last).zip(&before)
        {
            *next += coefficient * last - before;
        }
        (before, last) = (last, next);
    }
    let mut powers = [0.0; 8];
    for (((power, coefficient), last), before) in powers.iter_mut().zip(coefficients).zip(&last).zip(&before)
    {
        *power = last * last + before * before - coefficient * last * before;
    }
    let (rows, columns) = powers.split_at(4);
    let ((row, row_power), (column, column_power)) = (loudest(rows)?, loudest(columns)?);
    let is_balanced = row_power < column_power * RATIO && column_power < row_power * RATIO;
    // A tone of amplitude a has a block's energy of a²n/2, and a power of (an/2)².
    let share = (row_power + column_power) * 2.0 / (102.0 * energy);
    if !is_balanced || share < SHARE {
        return None;
    }
    KEYS.get(row)?.get(column).copied()
}

/// The place and power of the tone that is louder than the others by enough.
fn loudest(powers: &[f32]) -> Option<(usize, f32)> {
    let (place, power) = powers.iter().copied().enumerate().max_by(|one, other| one.1.total_cmp(&other.1))?;
    let is_alone = powers.iter().enumerate().all(|(other, less)| other == place || less * RATIO < power);
    is_alone.then_some((place, power))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::sounds::{noise, tones};

    const ALL: &str = "123A456B789C*0#D";

    /// Digits of so many milliseconds each, with as many after each. `detune` is a factor of both frequencies.
    fn keyed((on, off): (u32, u32), level: f32, twist: f32, detune: f64, noise_dbfs: f32) -> Vec<f32> {
        let mut samples = vec![0.0; 1_000];
        for key in ALL.chars() {
            let place = |key: char| {
                KEYS.iter()
                    .enumerate()
                    .find_map(|(r, row)| row.iter().position(|k| *k == key).map(|c| (r, c)))
            };
            let (row, column) = place(key).unwrap();
            let pair = [(TONES[row] * detune, level), (TONES[4 + column] * detune, level + twist)];
            samples.extend(tones(&pair, on * 8));
            samples.extend(vec![0.0; off as usize * 8]);
        }
        samples.extend([0.0; 500]);
        let noise = noise(samples.len(), noise_dbfs, 7);
        samples.iter().zip(noise).map(|(sample, noise)| sample + noise).collect()
    }

    fn heard(samples: &[f32]) -> String {
        let mut digits = Digits::new();
        for block in samples.chunks(333) {
            digits.hear(block);
        }
        digits.finish().iter().map(|digit| digit.key).collect()
    }

    #[test]
    fn every_digit_is_heard_once_whatever_its_length_level_and_noise() {
        for (on, off) in [(50, 50), (40, 40), (80, 80), (300, 100)] {
            for level in [-10.0, -25.0, -40.0] {
                for snr in [25.0, 10.0] {
                    let samples = keyed((on, off), level, 0.0, 1.0, level - snr);
                    assert_eq!(heard(&samples), ALL, "{on}/{off} ms, {level} dBFS, {snr} dB");
                }
            }
        }
        for twist in [-4.0, 7.0] {
            assert_eq!(heard(&keyed((50, 50), -20.0, twist, 1.0, -60.0)), ALL, "{twist}");
        }
        for detune in [0.985, 1.015] {
            assert_eq!(heard(&keyed((50, 50), -20.0, 0.0, detune, -60.0)), ALL, "{detune}");
        }
        assert_eq!(heard(&keyed((50, 50), -20.0, 0.0, 1.035, -60.0)), "", "too far off");
    }

    #[test]
    fn a_digit_begins_and_ends_when_it_sounds() {
        let mut samples = vec![0.0; 4_000];
        samples.extend(tones(&[(770.0, -20.0), (1_336.0, -20.0)], 1_600));
        samples.extend(vec![0.0; 4_000]);
        let mut digits = Digits::new();
        digits.hear(&samples);
        let found = digits.finish();
        assert_eq!(found.len(), 1);
        assert!(
            found[0].key == '5' && found[0].start.abs_diff(4_000) < 110 && found[0].end.abs_diff(5_600) < 110
        );
    }

    #[test]
    fn other_tones_and_noise_are_no_digits() {
        for samples in [
            tones(&[(350.0, -13.0), (440.0, -13.0)], 80_000),
            tones(&[(1_100.0, -13.0)], 80_000),
            tones(&[(697.0, -13.0)], 80_000),
            noise(80_000, -20.0, 3),
        ] {
            assert_eq!(heard(&samples), "");
        }
    }
}
