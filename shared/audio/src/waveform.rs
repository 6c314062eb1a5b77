//! The shape of a recording: the lowest and highest sample of each of at most [`WAVEFORM_BUCKETS`] pieces a channel.

/// Most pieces a channel: one a pixel of any waveform that a page shows.
pub const WAVEFORM_BUCKETS: usize = 1000;

/// The shape of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waveform {
    /// For each channel the lowest and highest sample of each piece, all pieces being equally long but the last.
    /// From 1 to [`WAVEFORM_BUCKETS`] pieces, as many in each channel.
    pub channels: Vec<Vec<(i16, i16)>>,
}

/// Nothing seen yet: any sample is lower and higher.
const NOTHING: (i16, i16) = (i16::MAX, i16::MIN);

/// A waveform in the making. How long the recording is needs not be known: pieces double as it goes on.
#[derive(Debug)]
pub(crate) struct Builder {
    channels: Vec<Channel>,
    /// Frames of a piece.
    width: usize,
    /// Frames in the open piece.
    filled: usize,
    frames: u64,
}

#[derive(Debug)]
struct Channel {
    open: (i16, i16),
    pieces: Vec<(i16, i16)>,
}

impl Builder {
    pub(crate) fn new(channels: u16) -> Self {
        let channel = || Channel { open: NOTHING, pieces: Vec::with_capacity(2 * WAVEFORM_BUCKETS) };
        let channels = std::iter::repeat_with(channel).take(usize::from(channels)).collect();
        Self { channels, width: 1, filled: 0, frames: 0 }
    }

    /// Frames taken so far.
    pub(crate) const fn frames(&self) -> u64 {
        self.frames
    }

    /// Takes interleaved samples, whole frames.
    pub(crate) fn push(&mut self, mut samples: &[i16]) {
        let channel_count = self.channels.len();
        while samples.len() >= channel_count {
            let room = (self.width - self.filled) * channel_count;
            let whole = samples.len() - samples.len() % channel_count;
            let (now, later) = samples.split_at(room.min(whole));
            for (index, channel) in self.channels.iter_mut().enumerate() {
                channel.open = fold(channel.open, now, index, channel_count);
            }
            self.filled += now.len() / channel_count;
            self.frames += (now.len() / channel_count) as u64;
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
        if self.channels.first().is_some_and(|channel| channel.pieces.len() >= 2 * WAVEFORM_BUCKETS) {
            self.width *= 2;
            for channel in &mut self.channels {
                channel.pieces = reduced(&channel.pieces, WAVEFORM_BUCKETS);
            }
        }
    }

    /// The waveform of what was taken; nothing where that is nothing.
    pub(crate) fn finish(mut self) -> Option<Waveform> {
        if self.filled > 0 {
            self.close();
        }
        if self.frames == 0 {
            return None;
        }
        let shorten = |channel: Channel| match channel.pieces.len() {
            0..=WAVEFORM_BUCKETS => channel.pieces,
            _ => reduced(&channel.pieces, WAVEFORM_BUCKETS),
        };
        Some(Waveform { channels: self.channels.into_iter().map(shorten).collect() })
    }
}

/// The extremes of one channel of interleaved samples. One and two channels, which is nearly everything, go through
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

/// Fewer pieces, each of the same number of old ones, give or take one.
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

    fn waveform(channels: u16, samples: &[i16], chunk: usize) -> Option<Waveform> {
        let mut builder = Builder::new(channels);
        for part in samples.chunks(chunk * usize::from(channels)) {
            builder.push(part);
        }
        assert_eq!(builder.frames(), (samples.len() / usize::from(channels)) as u64);
        builder.finish()
    }

    #[test]
    fn a_short_recording_is_its_own_waveform() {
        let shape = waveform(2, &[1, -1, 2, -2, 3, -3], 1).unwrap();
        assert_eq!(shape.channels, [vec![(1, 1), (2, 2), (3, 3)], vec![(-1, -1), (-2, -2), (-3, -3)]]);
        assert_eq!(waveform(1, &[], 1), None);
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
                    let shape = waveform(channels, &samples, chunk).unwrap();
                    assert_eq!(shape.channels.len(), usize::from(channels));
                    for channel in &shape.channels {
                        assert_eq!(
                            channel.len(),
                            frames.min(WAVEFORM_BUCKETS),
                            "{frames} {channels} {chunk}"
                        );
                    }
                    assert!(shape.channels[0].iter().any(|piece| piece.1 == 7));
                    assert_eq!(shape.channels.last().unwrap().last().unwrap().0, -9);
                }
            }
        }
    }
}
