//! Decodes whole files with symphonia, and counts what comes out.

use std::borrow::Cow;
use std::io;
use std::time::{Duration, Instant};

use symphonia::core::codecs::audio::well_known as codecs;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::packet::Packet;
use symphonia::core::units::TimeBase;
use symphonia::default::formats::{AdtsReader, AiffReader, FlacReader, IsoMp4Reader, MpaReader, OggReader};

use crate::input::{Input, Section};
use crate::waveform::{Builder, Waveform};
use crate::{Facts, Refusal, check_shape, seconds, verification};

/// Longest decoding of one recording. What takes longer is walked to its end without, which is all that is needed to
/// know how long it is: hours of sound in a few bits a second must not keep a place for as long.
const DECODE_TIME_MAX: Duration = Duration::from_secs(60);

/// Files of compressed sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Adts,
    Aiff,
    Flac,
    Mp3,
    Mp4,
    Ogg,
}

impl Container {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Adts => "audio/aac",
            Self::Aiff => "audio/aiff",
            Self::Flac => "audio/flac",
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
            Self::Aiff => Box::new(AiffReader::try_new(stream, options)?),
            Self::Flac => Box::new(FlacReader::try_new(stream, options)?),
            Self::Mp3 => Box::new(MpaReader::try_new(stream, options)?),
            Self::Mp4 => Box::new(IsoMp4Reader::try_new(stream, options)?),
            Self::Ogg => Box::new(OggReader::try_new(stream, options)?),
        })
    }
}

/// What came out of a file.
pub(crate) struct Sound {
    /// With the duration of the frames that are meant to be heard.
    pub(crate) facts: Facts,
    pub(crate) packets: u64,
    /// Frames that the file's header promises, where it does.
    pub(crate) frames_declared: Option<u64>,
    /// How long the file's header says that it is, where it does, in seconds.
    pub(crate) seconds_declared: Option<f64>,
    /// Frames that are meant to be heard.
    pub(crate) frames: u64,
    /// The same and those that encoders add before and after.
    pub(crate) frames_padded: u64,
}

/// Proves a file whose header may say how many frames there are.
pub(crate) fn prove(input: &mut Input, container: Container) -> Result<Facts, Refusal> {
    let section = input.section(0, input.length_bytes())?;
    let sound = run(section, container)?;
    if sound.frames_declared.is_some_and(|declared| declared > sound.frames) {
        return Err(Refusal::Truncated);
    }
    Ok(sound.facts)
}

/// Decodes a section to its end.
pub(crate) fn run(section: Section, container: Container) -> Result<Sound, Refusal> {
    run_within(DECODE_TIME_MAX, section, container)
}

/// Decodes a section for as long as that, and walks the rest.
pub(crate) fn run_within(
    time_max: Duration,
    section: Section,
    container: Container,
) -> Result<Sound, Refusal> {
    let mut reader = container.reader(section).map_err(|error| match container {
        // Bare streams have no header: what ends before its first frame was never one.
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
    let mut decoding = Decoding::new(&parameters, time_max);
    loop {
        match reader.next_packet() {
            Ok(Some(packet)) if packet.track_id == track_id => decoding.take(&packet)?,
            Ok(Some(_)) => {}
            // A second stream after the first, as in internet radio, is not this recording.
            Ok(None) | Err(Error::ResetRequired) => break,
            Err(error) => return Err(broken(error)),
        }
    }
    let Decoding { packets, bad, ticks, ticks_padded, .. } = decoding;
    let (shape, waveform) =
        decoding.finish().ok_or_else(|| Refusal::not_audio("the recording has no sound"))?;
    let in_frames = |ticks: u64| frames_of(ticks, time_base, shape.sample_rate);
    let (frames, frames_padded) = (in_frames(ticks), in_frames(ticks_padded));
    if frames == 0 {
        return Err(Refusal::Empty);
    }
    if bad > packets / 2 {
        return Err(Refusal::not_audio("the recording's samples can't be decoded"));
    }
    let facts = Facts {
        media_type: container.media_type(),
        codec: Cow::Borrowed(codec),
        duration_seconds: seconds(frames, shape.sample_rate),
        channels: shape.channels,
        sample_rate: shape.sample_rate,
        verification: verification(waveform.as_ref()),
        waveform,
    };
    Ok(Sound { facts, packets, frames_declared, seconds_declared, frames, frames_padded })
}

/// A decoder at work.
struct Decoding {
    /// None where the codec can't be decoded, or took too long.
    decoder: Option<Box<dyn AudioDecoder>>,
    time_max: Duration,
    started: Instant,
    /// Known from the header, else from the first packet that is decoded.
    shape: Option<(Shape, Builder)>,
    samples: Vec<i16>,
    packets: u64,
    bad: u64,
    ticks: u64,
    ticks_padded: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    channels: u16,
    sample_rate: u32,
}

impl Shape {
    fn new(channels: usize, sample_rate: u32) -> Result<Self, Refusal> {
        let channels = u16::try_from(channels).unwrap_or(u16::MAX);
        check_shape(channels, sample_rate)?;
        Ok(Self { channels, sample_rate })
    }
}

impl Decoding {
    fn new(parameters: &AudioCodecParameters, time_max: Duration) -> Self {
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .ok();
        let declared = parameters.channels.as_ref().zip(parameters.sample_rate);
        let shape = declared.and_then(|(channels, rate)| Shape::new(channels.count(), rate).ok());
        let shape = shape.map(|shape| (shape, Builder::new(shape.channels)));
        Self {
            decoder,
            time_max,
            started: Instant::now(),
            shape,
            samples: Vec::new(),
            packets: 0,
            bad: 0,
            ticks: 0,
            ticks_padded: 0,
        }
    }

    fn take(&mut self, packet: &Packet) -> Result<(), Refusal> {
        self.packets += 1;
        self.ticks = self.ticks.saturating_add(packet.dur.get());
        self.ticks_padded = self.ticks_padded.saturating_add(packet.block_dur().get());
        let Some(decoder) = &mut self.decoder else {
            return Ok(());
        };
        match decoder.decode(packet) {
            Ok(decoded) if decoded.frames() > 0 => {
                let shape = Shape::new(decoded.spec().channels().count(), decoded.spec().rate())?;
                decoded.copy_to_vec_interleaved::<i16>(&mut self.samples);
                let fresh =
                    self.shape.take().filter(|(known, builder)| *known == shape || builder.frames() > 0);
                let (known, builder) =
                    self.shape.insert(fresh.unwrap_or((shape, Builder::new(shape.channels))));
                // Sound that changes its shape midway is decoded, but has no place in the waveform.
                if *known == shape {
                    builder.push(&self.samples);
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
}

impl Decoding {
    /// The shape of the sound, and its waveform where all of it was decoded.
    fn finish(self) -> Option<(Shape, Option<Waveform>)> {
        let (shape, builder) = self.shape?;
        Some((shape, self.decoder.and_then(|_| builder.finish())))
    }
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
        codecs::CODEC_ID_PCM_F64BE => "pcm_f64be",
        _ => return None,
    })
}

/// Why a file could not be read on.
fn broken(error: Error) -> Refusal {
    match error {
        Error::IoError(error) if error.raw_os_error().is_some() => Refusal::Unreadable(error),
        Error::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => Refusal::Truncated,
        _ => Refusal::not_audio("the recording is broken"),
    }
}
