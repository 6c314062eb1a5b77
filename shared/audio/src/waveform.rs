//! The shape of a recording: the lowest and highest sample of each of at most 1,000 pieces a channel.

use callvine_domain::waveform::Peaks;

use crate::Shape;

/// Most pieces a channel: one for each pixel of any waveform that a page shows.
const PIECES_MAX: usize = 1000;

/// The extremes of no samples: any sample is lower and higher.
const NOTHING: (i16, i16) = (i16::MAX, i16::MIN);

/// A listener that draws the waveform. It need not know how long the recording is: pieces double in length as it goes on.
#[derive(Debug)]
pub struct Waveform {
    /// None before the first samples.
    channels: Vec<Channel>,
    /// Frames of a piece.
    width: usize,
    /// Frames in the open piece.
    filled: usize,
}

#[derive(Debug)]
struct Channel {
    open: (i16, i16),
    pieces: Vec<(i16, i16)>,
}

impl Default for Waveform {
    /// The waveform of no samples.
    fn default() -> Self {
        Self { channels: Vec::new(), width: 1, filled: 0 }
    }
}

impl Waveform {
    /// Takes the next samples: interleaved, whole frames, of one shape throughout.
    pub fn hear(&mut self, shape: Shape, mut samples: &[i16]) {
        if self.channels.is_empty() {
            let new = || Channel { open: NOTHING, pieces: Vec::with_capacity(2 * PIECES_MAX) };
            self.channels.resize_with(usize::from(shape.channels), new);
        }
        let channel_count = self.channels.len();
        // A part of a frame at the end would stay over for ever; it is left out.
        while samples.len() >= channel_count && channel_count > 0 {
            let room = (self.width - self.filled) * channel_count;
            let whole = samples.len() - samples.len() % channel_count;
            let (now, later) = samples.split_at(room.min(whole));
            for (index, channel) in self.channels.iter_mut().enumerate() {
                channel.open = fold(channel.open, now, index, channel_count);
            }
            self.filled += now.len() / channel_count;
            if self.filled == self.width {
                self.close();
            }
            samples = later;
        }
    }

    fn close(&mut self) {
        self.filled = 0;
        for channel in &mut self.channels {
            channel.pieces.push(std::mem::replace(&mut channel.open, NOTHING));
        }
        if self.channels.first().is_some_and(|channel| channel.pieces.len() >= 2 * PIECES_MAX) {
            self.width *= 2;
            for channel in &mut self.channels {
                channel.pieces = reduced(&channel.pieces, PIECES_MAX);
            }
        }
    }

    /// The lowest and highest sample of each piece, by channel: from 1 to 1,000 pieces, as many in each channel, all
    /// equally long but the last. `None` where no samples were heard.
    #[must_use]
    pub fn finish(mut self) -> Option<Peaks<i16>> {
        if self.filled > 0 {
            self.close();
        }
        let shorten = |channel: Channel| match channel.pieces.len() {
            0..=PIECES_MAX => channel.pieces,
            _ => reduced(&channel.pieces, PIECES_MAX),
        };
        let peaks: Peaks<i16> = self.channels.into_iter().map(shorten).collect();
        peaks.first().is_some_and(|pieces| !pieces.is_empty()).then_some(peaks)
    }
}

/// The extremes of one channel of interleaved samples. One and two channels, which nearly all recordings have, go through
/// loops that the compiler turns into vector instructions.
fn fold(start: (i16, i16), samples: &[i16], channel: usize, channel_count: usize) -> (i16, i16) {
    let widen = |(low, high): (i16, i16), sample: i16| (low.min(sample), high.max(sample));
    match channel_count {
        1 => samples.iter().fold(start, |extremes, &sample| widen(extremes, sample)),
        2 => {
            samples.as_chunks().0.iter().fold(start, |extremes, &[left, right]| {
                widen(extremes, if channel == 0 { left } else { right })
            })
        }
        _ => samples.iter().skip(channel).step_by(channel_count).fold(start, |e, &sample| widen(e, sample)),
    }
}

/// Joins pieces into `count` longer ones, each of the same number of old ones, give or take one.
fn reduced(pieces: &[(i16, i16)], count: usize) -> Vec<(i16, i16)> {
    let join = |index: usize| {
        let (from, to) = (index * pieces.len() / count, (index + 1) * pieces.len() / count);
        let joined = pieces.get(from..to).unwrap_or_default().iter();
        joined.fold(NOTHING, |(low, high), piece| (low.min(piece.0), high.max(piece.1)))
    };
    (0..count).map(join).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waveform(channels: u16, samples: &[i16], chunk: usize) -> Option<Peaks<i16>> {
        let mut waveform = Waveform::default();
        for part in samples.chunks(chunk * usize::from(channels)) {
            waveform.hear(Shape { channels, sample_rate: 8_000 }, part);
        }
        waveform.finish()
    }

    #[test]
    fn a_short_recording_is_its_own_waveform() {
        let peaks = waveform(2, &[1, -1, 2, -2, 3, -3], 1).unwrap();
        assert_eq!(peaks, [vec![(1, 1), (2, 2), (3, 3)], vec![(-1, -1), (-2, -2), (-3, -3)]]);
        assert_eq!(waveform(1, &[], 1), None);
        let mut silent = Waveform::default();
        silent.hear(Shape { channels: 1, sample_rate: 8_000 }, &[]);
        assert_eq!(silent.finish(), None);
    }

    #[test]
    fn extremes_survive_wherever_they_are_and_however_they_come() {
        for frames in [999, 1000, 1001, 1999, 2000, 2001, 123_456] {
            for channels in [1_u16, 2, 3] {
                let mut samples = vec![0_i16; frames * usize::from(channels)];
                let middle = frames / 3 * usize::from(channels);
                samples[middle] = 7;
                *samples.last_mut().unwrap() = -9;
                for chunk in [1, 777, frames] {
                    let peaks = waveform(channels, &samples, chunk).unwrap();
                    assert_eq!(peaks.len(), usize::from(channels));
                    for pieces in &peaks {
                        assert_eq!(pieces.len(), frames.min(PIECES_MAX), "{frames} {channels} {chunk}");
                    }
                    assert!(peaks[0].iter().any(|piece| piece.1 == 7));
                    assert_eq!(peaks.last().unwrap().last().unwrap().0, -9);
                }
            }
        }
    }
}
