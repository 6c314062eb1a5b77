//! Matroska and `WebM` (RFC 9559, RFC 8794): walks all elements. Opus tells its own length; other codecs are decoded.
//!
//! Browsers write these files without sizes, since they can't go back: such a file goes to its end, and the ending is open.

use std::borrow::Cow;

use callvine_domain::recording::Verification;

use crate::decode::{self, Container};
use crate::input::Input;
use crate::{Ending, Facts, Listener, Refusal, Shape, opus, seconds};

mod block;
mod element;

use element::Element;

/// The first bytes: the ID of the header.
pub(crate) const MAGIC: &[u8] = b"\x1a\x45\xdf\xa3";

/// Most tracks. A recording of a conference may have one for each participant.
const TRACKS_MAX: usize = 128;

/// Most bytes of a text that is kept: the names of codecs and of the two kinds of file.
const TEXT_BYTES_MAX: u64 = 64;

/// Nanoseconds of a tick where the file does not say.
const TICK_NS: u64 = 1_000_000;

/// Farthest that a duration by the header may be behind the last block, in seconds: longer than any packet.
const DURATION_SLACK_SECONDS: f64 = 1.0;

/// The element `TrackType` of sound.
const SOUND: u64 = 2;

/// A track, as its entry describes it.
#[derive(Default)]
struct Track {
    number: u64,
    kind: u64,
    codec: String,
    channels: u64,
    delay_ns: Option<u64>,
    /// Frames before the sound, where it is Opus.
    skipped: u64,
}

/// The file as far as it was walked.
struct Walk {
    is_webm: bool,
    ending: Ending,
    tick_ns: u64,
    ticks_declared: f64,
    tracks: Vec<Track>,
    /// When the present cluster begins, in ticks.
    cluster_ticks: u64,
    /// When the last block of the sound begins, in ticks, and how long its predecessor took.
    last_ticks: u64,
    step_ticks: u64,
    blocks: u64,
    /// Frames of the sound, where it is Opus.
    frames: u64,
    discarded_ns: u64,
}

pub(crate) fn read(input: &mut Input, listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    let mut walk = Walk {
        is_webm: false,
        ending: Ending::Told,
        tick_ns: TICK_NS,
        ticks_declared: 0.0,
        tracks: Vec::new(),
        cluster_ticks: 0,
        last_ticks: 0,
        step_ticks: 0,
        blocks: 0,
        frames: 0,
        discarded_ns: 0,
    };
    input.seek(0)?;
    while input.left_bytes() > 0 {
        walk.step(input)?;
    }
    let media_type = if walk.is_webm { "audio/webm" } else { "audio/x-matroska" };
    let ending = walk.ending;
    let facts = if walk.sound()?.codec == "A_OPUS" {
        walk.opus()?
    } else {
        let sound = decode::run(input.section(0, u64::MAX)?, Container::Matroska, listener)?;
        Facts { duration_seconds: walk.duration_seconds(), ..sound.facts }
    };
    Ok(Facts { media_type, ending, ..facts })
}

impl Walk {
    /// Takes the next element: goes into one that holds others, and past any other.
    fn step(&mut self, input: &mut Input) -> Result<(), Refusal> {
        let element = Element::read(input)?;
        match element.id {
            element::SEGMENT | element::CLUSTER if element.bytes.is_none() => {
                self.ending = Ending::Open;
                return Ok(());
            }
            element::TRACK_ENTRY => {
                element.end(input)?;
                if self.tracks.len() == TRACKS_MAX {
                    return Err(Refusal::not_audio("the recording is a Matroska file of too many tracks"));
                }
                self.tracks.push(Track::default());
                return Ok(());
            }
            id if element::HOLDS_OTHERS.contains(&id) => return element.end(input).map(drop),
            _ => {}
        }
        let end = element.end(input)?;
        let track = self.tracks.last_mut();
        match (element.id, track) {
            (element::DOC_TYPE, _) => self.is_webm = element.text(input)? == "webm",
            (element::TICK_NS, _) => self.tick_ns = element.number(input)?.clamp(1, u64::from(u32::MAX)),
            (element::DURATION, _) => self.ticks_declared = element.float(input)?,
            (element::TRACK_NUMBER, Some(track)) => track.number = element.number(input)?,
            (element::TRACK_TYPE, Some(track)) => track.kind = element.number(input)?,
            (element::CODEC, Some(track)) => track.codec = element.text(input)?,
            (element::CODEC_DELAY, Some(track)) => track.delay_ns = Some(element.number(input)?),
            (element::CODEC_PRIVATE, Some(track)) => track.skipped = opus_skipped(input, &element)?,
            (element::CHANNELS, Some(track)) => track.channels = element.number(input)?,
            (element::CLUSTER_TICKS, _) => self.cluster_ticks = element.number(input)?,
            (element::DISCARD, _) => {
                // Signed; below zero it cuts from the beginning of a packet, which no encoder of speech does.
                let discarded = i64::try_from(element.number(input)?).unwrap_or(0);
                self.discarded_ns = self.discarded_ns.saturating_add(discarded.unsigned_abs());
            }
            (element::SIMPLE_BLOCK | element::BLOCK, _) => self.take_block(input, end)?,
            _ => {}
        }
        input.seek(end)
    }

    fn sound(&self) -> Result<&Track, Refusal> {
        let sound = self.tracks.iter().find(|track| track.kind == SOUND);
        sound.ok_or_else(|| Refusal::not_audio("the recording is a Matroska file without sound"))
    }

    fn take_block(&mut self, input: &mut Input, end: u64) -> Result<(), Refusal> {
        let Ok(sound) = self.sound() else { return Ok(()) };
        let (number, is_opus) = (sound.number, sound.codec == "A_OPUS");
        let block = block::Head::read(input, end)?;
        if block.track != number {
            return Ok(());
        }
        let ticks = self.cluster_ticks.saturating_add_signed(i64::from(block.ticks));
        if let Some(step) = ticks.checked_sub(self.last_ticks).filter(|_| self.blocks > 0) {
            self.step_ticks = step;
        }
        self.last_ticks = self.last_ticks.max(ticks);
        self.blocks += 1;
        if is_opus {
            self.frames = self.frames.saturating_add(block.opus_frames(input, end)?);
        }
        Ok(())
    }

    fn opus(&self) -> Result<Facts, Refusal> {
        let sound = self.sound()?;
        let shape = Shape::new(u16::try_from(sound.channels.max(1)).unwrap_or(u16::MAX), opus::RATE)?;
        let delay = sound.delay_ns.map_or(sound.skipped, frames_of_ns);
        let frames = self.frames.saturating_sub(delay.saturating_add(frames_of_ns(self.discarded_ns)));
        if frames == 0 {
            return Err(Refusal::Empty);
        }
        Ok(Facts {
            media_type: "audio/webm",
            codec: Cow::Borrowed("opus"),
            duration_seconds: seconds(frames, shape.sample_rate),
            shape,
            verification: Verification::HeaderOnly,
            ending: self.ending,
        })
    }

    /// The duration by the header, as far as there are blocks, or else by the blocks.
    #[expect(clippy::cast_precision_loss, reason = "2^53 nanoseconds are a hundred days")]
    fn duration_seconds(&self) -> f64 {
        let tick_seconds = self.tick_ns as f64 / 1e9;
        let by_blocks = self.last_ticks.saturating_add(self.step_ticks) as f64 * tick_seconds;
        let declared = self.ticks_declared * tick_seconds;
        if declared > 0.0 && declared <= by_blocks + DURATION_SLACK_SECONDS { declared } else { by_blocks }
    }
}

fn frames_of_ns(ns: u64) -> u64 {
    u64::try_from(u128::from(ns) * u128::from(opus::RATE) / 1_000_000_000).unwrap_or(u64::MAX)
}

/// The frames before the sound by the header of Opus; 0 where it is none.
fn opus_skipped(input: &mut Input, element: &Element) -> Result<u64, Refusal> {
    if element.bytes.is_none_or(|bytes| bytes < 12) {
        return Ok(0);
    }
    Ok(match input.read()? {
        Some([b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', _, _, s0, s1]) => {
            u64::from(u16::from_le_bytes([s0, s1]))
        }
        _ => 0,
    })
}
