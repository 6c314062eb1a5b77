//! Decodes whole files with symphonia, and counts their frames.

use std::borrow::Cow;
use std::io;
use std::time::{Duration, Instant};

use callvine_domain::recording::Verification;
use symphonia::core::codecs::audio::well_known as codecs;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::packet::Packet;
use symphonia::core::units::TimeBase;
use symphonia::default::formats::{AdtsReader, FlacReader, IsoMp4Reader, MkvReader, MpaReader, OggReader};

use crate::input::{Input, Section};
use crate::{Ending, Facts, Listener, Refusal, Shape, seconds};

/// Longest decoding of one recording. The rest of a longer one is walked, which is enough to know how long it is: hours of
/// sound in a few bits a second must not occupy a worker for as long.
pub(crate) const DECODE_TIME_MAX: Duration = Duration::from_secs(60);

/// Decoding of a small file. A larger one gets [`DECODE_TIME_PER_MIB`] beside it, four times what the slowest decoder needs.
const DECODE_TIME_BASE: Duration = Duration::from_secs(10);
/// See [`DECODE_TIME_BASE`].
const DECODE_TIME_PER_MIB: Duration = Duration::from_secs(4);

/// Formats that symphonia reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Adts,
    Flac,
    Matroska,
    Mp3,
    Mp4,
    Ogg,
}

impl Container {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Adts => "audio/aac",
            Self::Flac => "audio/flac",
            Self::Matroska => "audio/x-matroska",
            Self::Mp3 => "audio/mpeg",
            Self::Mp4 => "audio/mp4",
            Self::Ogg => "audio/ogg",
        }
    }

    fn reader(self, section: Section) -> Result<Box<dyn FormatReader>, Error> {
        let stream = MediaSourceStream::new(Box::new(section), MediaSourceStreamOptions::default());
        let options = FormatOptions::default();
        Ok(match self {
            Self::Adts => Box::new(AdtsReader::try_new(stream, options)?),
            Self::Flac => Box::new(FlacReader::try_new(stream, options)?),
            Self::Matroska => Box::new(MkvReader::try_new(stream, options)?),
            Self::Mp3 => Box::new(MpaReader::try_new(stream, options)?),
            Self::Mp4 => Box::new(IsoMp4Reader::try_new(stream, options)?),
            Self::Ogg => Box::new(OggReader::try_new(stream, options)?),
        })
    }
}

/// The outcome of a file.
pub(crate) struct Sound {
    /// Their duration is that of the frames that are meant to be heard.
    pub(crate) facts: Facts,
    pub(crate) packets: u64,
    /// Frames by the file's header, where it tells.
    pub(crate) frames_declared: Option<u64>,
    /// Duration by the file's header, where it tells, in seconds.
    pub(crate) seconds_declared: Option<f64>,
    /// Frames that are meant to be heard.
    pub(crate) frames: u64,
    /// These and those that encoders add before and after.
    pub(crate) frames_padded: u64,
}

/// Reads a file, from `start` to its end, whose header may say how many frames there are.
pub(crate) fn read(
    input: &mut Input,
    start: u64,
    container: Container,
    listener: &mut Listener<'_>,
) -> Result<Facts, Refusal> {
    let section = input.section(start, u64::MAX)?;
    let sound = run(section, container, listener)?;
    if sound.frames_declared.is_some_and(|declared| declared > sound.frames) {
        return Err(Refusal::Truncated);
    }
    Ok(sound.facts)
}

/// Decodes a section to its end.
pub(crate) fn run(
    section: Section,
    container: Container,
    listener: &mut Listener<'_>,
) -> Result<Sound, Refusal> {
    let mib = u32::try_from(section.length_bytes() >> 20).unwrap_or(u32::MAX);
    let time = DECODE_TIME_BASE.saturating_add(DECODE_TIME_PER_MIB.saturating_mul(mib));
    run_within(time.min(DECODE_TIME_MAX), section, container, listener)
}

/// Decodes a section for at most `time_max`, and walks the rest.
pub(crate) fn run_within(
    time_max: Duration,
    section: Section,
    container: Container,
    listener: &mut Listener<'_>,
) -> Result<Sound, Refusal> {
    let mut reader = container.reader(section).map_err(|error| match container {
        // Bare streams have no header: bytes that end before a first frame were never one.
        Container::Adts | Container::Mp3 => Refusal::not_audio("the recording is no MPEG audio"),
        _ => broken(error),
    })?;
    let track = reader
        .default_track(TrackType::Audio)
        .ok_or_else(|| Refusal::not_audio("the recording has no sound"))?;
    let (track_id, frames_declared, time_base) = (track.id, track.num_frames, track.time_base);
    let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio()).cloned();
    let parameters = parameters.ok_or_else(|| Refusal::not_audio("the recording has no sound"))?;
    let codec = codec_name(parameters.codec)
        .ok_or_else(|| Refusal::not_audio("the recording is of an unknown codec"))?;
    let media = reader.media_info();
    let seconds_declared =
        media.duration.zip(media.time_base).map(|(length, base)| ticks_to_seconds(length.get(), base));
    let mut decoding = Decoding::new(&parameters, container == Container::Ogg, time_max);
    loop {
        match reader.next_packet() {
            Ok(Some(packet)) if packet.track_id == track_id => decoding.take(&packet, listener)?,
            Ok(Some(_)) => {}
            // A second stream after the first, as in internet radio, is another recording.
            Ok(None) | Err(Error::ResetRequired) => break,
            Err(error) => return Err(broken(error)),
        }
    }
    let Decoding { packets, bad, ticks, ticks_padded, .. } = decoding;
    let (shape, verification) =
        decoding.finish().ok_or_else(|| Refusal::not_audio("the recording has no sound"))?;
    let in_frames = |ticks: u64| frames_of(ticks, time_base, shape.sample_rate);
    let (frames, frames_padded) = (in_frames(ticks), in_frames(ticks_padded));
    // Packets of Matroska need not tell how long they are.
    let is_silent = if container == Container::Matroska { packets == 0 } else { frames == 0 };
    if is_silent {
        return Err(Refusal::Empty);
    }
    if bad > packets / 2 {
        return Err(Refusal::not_audio("the recording's samples can't be decoded"));
    }
    let facts = Facts {
        media_type: container.media_type(),
        codec: Cow::Borrowed(codec),
        duration_seconds: seconds(frames, shape.sample_rate),
        shape,
        verification,
        ending: Ending::Told,
    };
    Ok(Sound { facts, packets, frames_declared, seconds_declared, frames, frames_padded })
}

/// A decoder at work.
struct Decoding {
    /// `None` where the codec can't be decoded, or took too long.
    decoder: Option<Box<dyn AudioDecoder>>,
    may_be_empty: bool,
    time_max: Duration,
    started: Instant,
    /// From the header, until the first samples tell it.
    shape: Option<Shape>,
    /// Whether the listener has heard samples.
    is_heard: bool,
    samples: Vec<i16>,
    packets: u64,
    bad: u64,
    ticks: u64,
    ticks_padded: u64,
}

impl Decoding {
    fn new(parameters: &AudioCodecParameters, may_be_empty: bool, time_max: Duration) -> Self {
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .ok();
        let declared = parameters.channels.as_ref().zip(parameters.sample_rate);
        let shape = declared.and_then(|(channels, rate)| shape(channels.count(), rate).ok());
        Self {
            decoder,
            may_be_empty,
            time_max,
            started: Instant::now(),
            shape,
            is_heard: false,
            samples: Vec::new(),
            packets: 0,
            bad: 0,
            ticks: 0,
            ticks_padded: 0,
        }
    }

    fn take(&mut self, packet: &Packet, listener: &mut Listener<'_>) -> Result<(), Refusal> {
        if packet.data.is_empty() {
            // Each costs a byte of an Ogg page and lasts for no time. Elsewhere a few bytes could claim any number of them.
            return if self.may_be_empty {
                Ok(())
            } else {
                Err(Refusal::not_audio("the recording has packets without bytes"))
            };
        }
        self.packets += 1;
        self.ticks = self.ticks.saturating_add(packet.dur.get());
        self.ticks_padded = self.ticks_padded.saturating_add(packet.block_dur().get());
        let Some(decoder) = &mut self.decoder else {
            return Ok(());
        };
        match decoder.decode(packet) {
            Ok(decoded) if decoded.frames() > 0 => {
                let shape = shape(decoded.spec().channels().count(), decoded.spec().rate())?;
                if !self.is_heard {
                    self.shape = Some(shape);
                }
                // Listeners know one shape: samples that come in another one midway are decoded for the proof alone.
                if self.shape == Some(shape) {
                    decoded.copy_to_vec_interleaved::<i16>(&mut self.samples);
                    listener(shape, &self.samples);
                    self.is_heard = true;
                }
            }
            Ok(_) => {}
            Err(Error::Unsupported(_)) => self.decoder = None,
            Err(_) => self.bad += 1,
        }
        if self.started.elapsed() > self.time_max {
            self.decoder = None;
        }
        Ok(())
    }

    /// The shape of the sound, and whether all of it was decoded.
    fn finish(self) -> Option<(Shape, Verification)> {
        let is_decoded = self.decoder.is_some() && self.is_heard;
        Some((self.shape?, if is_decoded { Verification::Decoded } else { Verification::HeaderOnly }))
    }
}

fn shape(channels: usize, sample_rate: u32) -> Result<Shape, Refusal> {
    Shape::new(u16::try_from(channels).unwrap_or(u16::MAX), sample_rate)
}

/// Ticks of the container's clock in frames.
fn frames_of(ticks: u64, time_base: Option<TimeBase>, sample_rate: u32) -> u64 {
    let Some(time_base) = time_base else { return ticks };
    let frames = u128::from(ticks) * u128::from(time_base.numer.get()) * u128::from(sample_rate);
    u64::try_from(frames / u128::from(time_base.denom.get())).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "2^53 ticks of any clock are years")]
fn ticks_to_seconds(ticks: u64, time_base: TimeBase) -> f64 {
    ticks as f64 * f64::from(time_base.numer.get()) / f64::from(time_base.denom.get())
}

/// ffprobe's names.
fn codec_name(codec: AudioCodecId) -> Option<&'static str> {
    Some(match codec {
        codecs::CODEC_ID_MP1 => "mp1",
        codecs::CODEC_ID_MP2 => "mp2",
        codecs::CODEC_ID_MP3 => "mp3",
        codecs::CODEC_ID_AAC => "aac",
        codecs::CODEC_ID_ALAC => "alac",
        codecs::CODEC_ID_FLAC => "flac",
        codecs::CODEC_ID_OPUS => "opus",
        codecs::CODEC_ID_VORBIS => "vorbis",
        codecs::CODEC_ID_ADPCM_IMA_QT => "adpcm_ima_qt",
        codecs::CODEC_ID_PCM_ALAW => "pcm_alaw",
        codecs::CODEC_ID_PCM_MULAW => "pcm_mulaw",
        codecs::CODEC_ID_PCM_S8 => "pcm_s8",
        codecs::CODEC_ID_PCM_U8 => "pcm_u8",
        codecs::CODEC_ID_PCM_S16BE => "pcm_s16be",
        codecs::CODEC_ID_PCM_S16LE => "pcm_s16le",
        codecs::CODEC_ID_PCM_S24BE => "pcm_s24be",
        codecs::CODEC_ID_PCM_S24LE => "pcm_s24le",
        codecs::CODEC_ID_PCM_S32BE => "pcm_s32be",
        codecs::CODEC_ID_PCM_S32LE => "pcm_s32le",
        codecs::CODEC_ID_PCM_F32BE => "pcm_f32be",
        codecs::CODEC_ID_PCM_F32LE => "pcm_f32le",
        codecs::CODEC_ID_PCM_F64LE => "pcm_f64le",
        codecs::CODEC_ID_PCM_F64BE => "pcm_f64be",
        _ => return None,
    })
}

/// The refusal of a file that could not be read on.
fn broken(error: Error) -> Refusal {
    match error {
        Error::IoError(error) if error.raw_os_error().is_some() => Refusal::Unreadable(error),
        Error::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => Refusal::Truncated,
        _ => Refusal::not_audio("the recording is broken"),
    }
}
