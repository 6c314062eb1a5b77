//! Walks the boxes of an MP4 file (ISO/IEC 14496-12, and `QuickTime`'s format before it), before any other reader sees them:
//! tables that claim more samples than there are bytes never get past here.

use crate::Refusal;
use crate::input::Input;

/// Largest index. It is held in memory as a whole; this size is enough for days of sound.
const INDEX_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Most tracks: a conference has a few.
const TRACKS_MAX: usize = 64;

/// Most runs of samples of one track in one fragment. Each run costs a reader a step for each sample.
const RUNS_MAX: u64 = 1024;

/// Bytes of a file for each fragment of each track, at the least: a fragment without sound has more.
const FRAGMENT_BYTES_MIN: u64 = 8;

/// Most boxes in one another: six by the standard.
const DEPTH_MAX: usize = 16;

/// Boxes with others in them that matter here.
const HOLDS_OTHERS: [&[u8; 4]; 8] = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"mvex"];

/// A track.
#[derive(Debug, Default)]
pub(super) struct Track {
    pub(super) is_sound: bool,
    /// Ticks of a second.
    pub(super) ticks_per_second: u32,
    /// The codec's four letters.
    pub(super) codec: [u8; 4],
    pub(super) channels: u16,
    pub(super) sample_rate: u32,
    /// Ticks of all samples.
    pub(super) ticks: u64,
    /// Bytes of all samples, in files that are no fragments.
    pub(super) sample_bytes: u64,
}

/// A file's boxes.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// The first of the kinds that the file says it is of.
    pub(super) brand: [u8; 4],
    pub(super) tracks: Vec<Track>,
    /// Ticks of the samples in fragments.
    pub(super) fragment_ticks: u64,
    has_index: bool,
    has_samples: bool,
    fragments: u64,
    fragment_samples: u64,
    runs: u64,
    /// Ticks of a sample in fragments that don't tell: by the file, and by the present fragment.
    default_ticks: u64,
    fragment_default_ticks: u64,
    /// Where the boxes end in which this place is.
    ends: Vec<u64>,
}

impl Walk {
    /// Walks the whole file. Refuses one of which a box ends behind its end, or which lacks an index or samples.
    pub(super) fn of(input: &mut Input) -> Result<Self, Refusal> {
        let mut walk = Self::default();
        input.seek(0)?;
        while input.left_bytes() > 0 {
            walk.step(input)?;
        }
        match (walk.has_index, walk.has_samples) {
            (true, _) => Ok(walk),
            // The index is written when the recording ends.
            (false, true) => Err(Refusal::Truncated),
            (false, false) => Err(Refusal::not_audio("the recording is an MP4 file without sound")),
        }
    }

    /// Takes the next box: goes into one that holds others, and past any other.
    fn step(&mut self, input: &mut Input) -> Result<(), Refusal> {
        let start = input.position();
        while self.ends.pop_if(|end| *end <= start).is_some() {}
        let outer = self.ends.last().copied();
        // A few bytes at the end of a box are padding.
        if let Some(outer) = outer.filter(|outer| outer - start < 8) {
            return input.seek(outer);
        }
        let Some([s0, s1, s2, s3, kind @ ..]) = input.read::<8>()? else {
            return Err(Refusal::Truncated);
        };
        let kind: [u8; 4] = kind;
        let size = match u32::from_be_bytes([s0, s1, s2, s3]) {
            // To the end of the file, or of padding.
            0 => outer.unwrap_or(input.length_bytes()) - start,
            1 => u64::from_be_bytes(input.read()?.ok_or(Refusal::Truncated)?),
            size => u64::from(size),
        };
        let end = start.checked_add(size).filter(|&end| end >= input.position()).ok_or_else(broken)?;
        if end > input.length_bytes() {
            return Err(Refusal::Truncated);
        }
        if matches!(&kind, b"moov" | b"moof") && size > INDEX_BYTES_MAX {
            return Err(Refusal::not_audio("the recording is an MP4 file of nothing but an index"));
        }
        self.note(&kind, input)?;
        if HOLDS_OTHERS.contains(&&kind) {
            self.ends.push(end);
            return if self.ends.len() > DEPTH_MAX { Err(broken()) } else { Ok(()) };
        }
        if let Some(mut content) = Content::of(input, end) {
            self.take(&kind, &mut content)?;
        }
        input.seek(end)
    }

    /// Counts a box.
    fn note(&mut self, kind: &[u8; 4], input: &Input) -> Result<(), Refusal> {
        match kind {
            b"moov" => self.has_index = true,
            b"mdat" => self.has_samples = true,
            b"trak" => self.tracks.push(Track::default()),
            b"moof" => self.fragments += 1,
            b"traf" => (self.runs, self.fragment_default_ticks) = (0, self.default_ticks),
            b"trun" => self.runs += 1,
            _ => {}
        }
        let fragments_of_tracks = self.fragments.saturating_mul(self.tracks.len() as u64);
        if self.tracks.len() > TRACKS_MAX
            || self.runs > RUNS_MAX
            || fragments_of_tracks > input.length_bytes() / FRAGMENT_BYTES_MIN
        {
            return Err(Refusal::not_audio("the recording is an MP4 file of nothing but an index"));
        }
        Ok(())
    }

    /// Reads a box that holds no others.
    fn take(&mut self, kind: &[u8; 4], content: &mut Content<'_>) -> Result<(), Refusal> {
        let track = self.tracks.last_mut();
        match (kind, track) {
            (b"ftyp", _) => self.brand = content.read()?,
            (b"mdhd", Some(track)) => {
                let [version, ..] = content.read::<4>()?;
                content.skip(if version == 1 { 16 } else { 8 })?;
                track.ticks_per_second = content.word()?;
            }
            (b"hdlr", Some(track)) => {
                content.skip(8)?;
                track.is_sound |= &content.read()? == b"soun";
            }
            (b"stsd", Some(track)) => match take_description(track, content) {
                // Descriptions of anything but sound may be shorter.
                Err(Refusal::NotAudio(_)) => {}
                taken => taken?,
            },
            (b"stts", Some(track)) => {
                content.skip(4)?;
                let count = content.word()?;
                for _ in 0..count {
                    let (samples, ticks) = (u64::from(content.word()?), u64::from(content.word()?));
                    track.ticks = track.ticks.saturating_add(samples.saturating_mul(ticks));
                }
            }
            (b"stsz", Some(track)) => {
                content.skip(4)?;
                let (size, count) = (u64::from(content.word()?), content.word()?);
                if size > 0 {
                    track.sample_bytes = size.saturating_mul(u64::from(count));
                } else {
                    for _ in 0..count {
                        track.sample_bytes = track.sample_bytes.saturating_add(u64::from(content.word()?));
                    }
                }
                // No two samples of a track share bytes.
                if track.sample_bytes > content.file_bytes() {
                    return Err(Refusal::Truncated);
                }
            }
            (b"trex", _) => {
                content.skip(12)?;
                self.default_ticks = u64::from(content.word()?);
            }
            (b"tfhd", _) => {
                let flags = content.word()?;
                content.skip(4 + if flags & 1 == 0 { 0 } else { 8 } + if flags & 2 == 0 { 0 } else { 4 })?;
                if flags & 8 != 0 {
                    self.fragment_default_ticks = u64::from(content.word()?);
                }
            }
            (b"trun", _) => self.take_run(content)?,
            _ => {}
        }
        Ok(())
    }

    fn take_run(&mut self, content: &mut Content<'_>) -> Result<(), Refusal> {
        let (flags, count) = (content.word()?, u64::from(content.word()?));
        content.skip(if flags & 1 == 0 { 0 } else { 4 } + if flags & 4 == 0 { 0 } else { 4 })?;
        self.fragment_samples = self.fragment_samples.saturating_add(count);
        // Samples have bytes.
        if self.fragment_samples > content.file_bytes() {
            return Err(Refusal::not_audio("the recording has packets without bytes"));
        }
        let fields = u64::from((flags & 0xf00).count_ones());
        for _ in 0..count {
            let ticks = match flags & 0x100 {
                0 => self.fragment_default_ticks,
                _ => u64::from(content.word()?),
            };
            self.fragment_ticks = self.fragment_ticks.saturating_add(ticks);
            content.skip(4 * (fields - u64::from(flags & 0x100 != 0)))?;
        }
        Ok(())
    }
}

/// Reads the first description of a track's samples.
fn take_description(track: &mut Track, content: &mut Content<'_>) -> Result<(), Refusal> {
    content.skip(12)?;
    track.codec = content.read()?;
    content.skip(8)?;
    let [_, version] = content.read::<2>()?;
    content.skip(6)?;
    track.channels = u16::from_be_bytes(content.read()?);
    content.skip(6)?;
    // 16 bits before the point and 16 behind it.
    track.sample_rate = content.word()? >> 16;
    if version == 2 {
        content.skip(4)?;
        let rate = f64::from_be_bytes(content.read()?);
        track.sample_rate = if rate.fract() == 0.0 { format!("{rate:.0}").parse().unwrap_or(0) } else { 0 };
        track.channels = u16::try_from(content.word()?).unwrap_or(u16::MAX);
    }
    Ok(())
}

/// The content of a box.
struct Content<'a> {
    input: &'a mut Input,
    end: u64,
}

impl<'a> Content<'a> {
    fn of(input: &'a mut Input, end: u64) -> Option<Self> {
        (input.position() < end).then_some(Self { input, end })
    }

    fn file_bytes(&self) -> u64 {
        self.input.length_bytes()
    }

    fn word(&mut self) -> Result<u32, Refusal> {
        Ok(u32::from_be_bytes(self.read()?))
    }

    fn skip(&mut self, bytes: u64) -> Result<(), Refusal> {
        let position = self.input.position().saturating_add(bytes);
        if position > self.end { Err(broken()) } else { self.input.seek(position) }
    }

    fn read<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        if self.input.position().saturating_add(N as u64) > self.end {
            return Err(broken());
        }
        self.input.read()?.ok_or(Refusal::Truncated)
    }
}

fn broken() -> Refusal {
    Refusal::not_audio("the recording is a broken MP4 file")
}
