//! The answer of a cell, and the parent's judgement of it. The child has read a stranger's bytes, so it may be the
//! stranger's by now: its facts must be possible for a file of that size, and its texts are short and plain.

use std::io;

use callvine_audio::{Ending, Facts, Refusal};
use serde::{Deserialize, Serialize};

use crate::recording::Verification;
use crate::waveform;

/// Most channels and highest sample rate, as [`callvine_audio::Shape`] has them.
const CHANNELS_MAX: u16 = 32;
/// See [`CHANNELS_MAX`].
const SAMPLE_RATE_MAX: u32 = 768_000;

/// Longest recording, in seconds: a month. 512 MiB of the slowest speech codec last ten days.
const DURATION_MAX: f64 = 31.0 * 24.0 * 3600.0;

/// Fewest bytes of a second. Silence takes 20 in FLAC, which packs it best among the formats that are written.
const BYTES_PER_SECOND_MIN: f64 = 8.0;

/// Seconds that a file of any size may last: the rounding of short ones.
const SECONDS_FREE: f64 = 10.0;

/// Longest name of a media type or a codec, and longest refusal, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// See [`NAME_BYTES_MAX`].
const TEXT_BYTES_MAX: usize = 400;

/// The facts of a file that is proved to be audio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sound {
    /// Such as `audio/wav`.
    pub media_type: String,
    /// As ffprobe calls it, such as `pcm_alaw`.
    pub codec: String,
    /// Above zero, and possible for the file's size.
    pub duration_seconds: f64,
    /// From 1 to 32.
    pub channels: u16,
    /// In hertz, from 1 to 768,000.
    pub sample_rate: u32,
    #[serde(with = "verification_name")]
    /// How far the proof goes.
    pub verification: Verification,
    /// Whether this is all of it, as far as the file tells.
    #[serde(with = "EndingName")]
    pub ending: Ending,
    /// As [`crate::waveform`] writes it, where every sample was decoded.
    #[serde(with = "hex::serde")]
    waveform: Vec<u8>,
}

impl Sound {
    /// The facts that a reader has found, and the waveform that a listener drew; empty where there is none.
    #[must_use]
    pub fn new(facts: Facts, waveform: Vec<u8>) -> Self {
        Self {
            media_type: facts.media_type.to_owned(),
            codec: facts.codec.into_owned(),
            duration_seconds: facts.duration_seconds,
            channels: facts.shape.channels,
            sample_rate: facts.shape.sample_rate,
            verification: facts.verification,
            ending: facts.ending,
            waveform,
        }
    }

    /// The waveform, as [`crate::waveform`] writes it; `None` unless every sample was decoded.
    #[must_use]
    pub fn waveform(&self) -> Option<&[u8]> {
        (!self.waveform.is_empty()).then_some(&self.waveform)
    }

    /// Whether any reader of ours can have said so.
    fn is_sane(&self) -> bool {
        let is_decoded = self.verification == Verification::Decoded;
        let channels = usize::from(self.channels);
        self.media_type.strip_prefix("audio/").is_some_and(is_name)
            && is_name(&self.codec)
            && (1..=CHANNELS_MAX).contains(&self.channels)
            && (1..=SAMPLE_RATE_MAX).contains(&self.sample_rate)
            && self.duration_seconds.is_finite()
            && self.duration_seconds > 0.0
            && self.waveform().is_none_or(|peaks| {
                is_decoded && waveform::decode(peaks).is_some_and(|peaks| peaks.len() == channels)
            })
    }

    /// Whether a file of so many bytes can last as long.
    #[expect(clippy::cast_precision_loss, reason = "2^53 bytes are more than any disk has")]
    fn is_possible(&self, size_bytes: u64) -> bool {
        let longest = SECONDS_FREE + size_bytes as f64 / BYTES_PER_SECOND_MIN;
        self.duration_seconds <= longest.min(DURATION_MAX)
    }
}

/// The answer as it goes over the socket.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer<T> {
    /// Whether the child has taken so much memory or time that another one should do the next work.
    pub(super) is_worn: bool,
    result: Found<T>,
}

/// A judged answer: whether the child is worn, and the outcome of its work.
pub(super) type Judged<T> = (bool, Result<T, Refusal>);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Found<T> {
    Done(T),
    NotAudio(String),
    Text(String),
    Truncated,
    Empty,
    Unreadable(String),
}

impl<T> Answer<T> {
    pub(super) fn new(result: Result<T, Refusal>, is_worn: bool) -> Self {
        let result = match result {
            Ok(done) => Found::Done(done),
            Err(Refusal::NotAudio(text)) => Found::NotAudio(text.into_owned()),
            Err(Refusal::Text(text)) => Found::Text(text.into_owned()),
            Err(Refusal::Truncated) => Found::Truncated,
            Err(Refusal::Empty) => Found::Empty,
            Err(Refusal::Unreadable(error)) => Found::Unreadable(error.to_string()),
        };
        Self { is_worn, result }
    }

    /// Reads an answer; `None` where no child of ours would give it. The work itself is still to be judged.
    pub(super) fn read<'a>(json: &'a [u8]) -> Option<Judged<T>>
    where
        T: Deserialize<'a>,
    {
        let Self { is_worn, result } = serde_json::from_slice(json).ok()?;
        let result = match result {
            Found::Done(done) => Ok(done),
            Found::NotAudio(text) => Err(Refusal::NotAudio(plain(text)?.into())),
            Found::Text(text) => Err(Refusal::Text(plain(text)?.into())),
            Found::Truncated => Err(Refusal::Truncated),
            Found::Empty => Err(Refusal::Empty),
            Found::Unreadable(text) => Err(Refusal::Unreadable(io::Error::other(plain(text)?))),
        };
        Some((is_worn, result))
    }
}

impl Answer<Sound> {
    /// Reads an answer about a file of so many bytes; `None` where no child of ours would give it.
    pub(super) fn judge(json: &[u8], size_bytes: u64) -> Option<Judged<Sound>> {
        let (is_worn, result) = Self::read(json)?;
        match result {
            Ok(sound) if !sound.is_sane() => None,
            Ok(sound) if !sound.is_possible(size_bytes) => {
                Some((is_worn, Err(impossible(&sound, size_bytes))))
            }
            result => Some((is_worn, result)),
        }
    }
}

fn impossible(sound: &Sound, size_bytes: u64) -> Refusal {
    let seconds = sound.duration_seconds;
    Refusal::NotAudio(format!("the recording claims {seconds:.0} s of sound in {size_bytes} bytes").into())
}

fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.+".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain)
}

/// A text that may be shown to people.
fn plain(text: String) -> Option<String> {
    is_plain_text(&text).then_some(text)
}

/// Whether a text is short, and without control characters.
pub(super) fn is_plain_text(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX && !text.contains(char::is_control)
}

/// An ending by the name of its variant.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Ending", rename_all = "snake_case")]
enum EndingName {
    Told,
    Short,
    Open,
}

/// A verification by its published name.
mod verification_name {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::recording::Verification;

    pub(super) fn serialize<S: Serializer>(value: &Verification, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Verification, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|_| D::Error::custom("an unknown verification"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Sound {
        Sound {
            media_type: "audio/wav".to_owned(),
            codec: "pcm_s16le".to_owned(),
            duration_seconds: 4.0,
            channels: 1,
            sample_rate: 8000,
            verification: Verification::Decoded,
            ending: Ending::Told,
            waveform: waveform::encode(&[vec![(-1, 1); 1000]]),
        }
    }

    fn judged(sound: Sound, size_bytes: u64) -> Option<Result<Sound, Refusal>> {
        let json = serde_json::to_vec(&Answer::new(Ok(sound), false)).unwrap();
        Answer::judge(&json, size_bytes).map(|(_, result)| result)
    }

    #[test]
    fn good_answers_arrive_as_they_were_given() {
        assert_eq!(judged(sound(), 64_044).unwrap().unwrap(), sound());
        let none = Sound { waveform: Vec::new(), verification: Verification::HeaderOnly, ..sound() };
        assert_eq!(judged(none, 64_044).unwrap().unwrap().waveform(), None);
        for refusal in [
            Refusal::NotAudio("the recording is JSON".into()),
            Refusal::Text("the recording is JSON".into()),
            Refusal::Truncated,
            Refusal::Empty,
            Refusal::Unreadable(io::Error::other("the disk failed")),
        ] {
            let text = format!("{refusal:?}").replace("Custom { kind: Other, error: ", "");
            let json = serde_json::to_vec(&Answer::<Sound>::new(Err(refusal), true)).unwrap();
            let (is_worn, result) = Answer::<Sound>::judge(&json, 9).unwrap();
            let judged = format!("{:?}", result.unwrap_err()).replace("Custom { kind: Other, error: ", "");
            assert_eq!((is_worn, judged), (true, text));
        }
    }

    #[test]
    fn facts_that_no_reader_gives_are_nonsense() {
        let long = "x".repeat(65);
        for wrong in [
            Sound { media_type: "text/html".to_owned(), ..sound() },
            Sound { media_type: "audio/wav\r\nX: y".to_owned(), ..sound() },
            Sound { media_type: format!("audio/{long}"), ..sound() },
            Sound { codec: String::new(), ..sound() },
            Sound { codec: long, ..sound() },
            Sound { duration_seconds: f64::NAN, ..sound() },
            Sound { duration_seconds: f64::INFINITY, ..sound() },
            Sound { duration_seconds: 0.0, ..sound() },
            Sound { duration_seconds: -1.0, ..sound() },
            Sound { channels: 0, ..sound() },
            Sound { channels: 33, ..sound() },
            Sound { channels: 2, ..sound() },
            Sound { sample_rate: 0, ..sound() },
            Sound { sample_rate: 768_001, ..sound() },
            Sound { waveform: vec![1, 2, 3], ..sound() },
            Sound { verification: Verification::HeaderOnly, ..sound() },
        ] {
            assert!(judged(wrong.clone(), 64_044).is_none(), "{wrong:?}");
        }
        for json in ["", "{}", "[]", r#"{"is_worn":false,"result":"unknown"}"#] {
            assert!(Answer::judge(json.as_bytes(), 9).is_none(), "{json}");
        }
        let shouting = Refusal::NotAudio("a\nb".into());
        let json = serde_json::to_vec(&Answer::<Sound>::new(Err(shouting), false)).unwrap();
        assert!(Answer::judge(&json, 9).is_none());
    }

    #[test]
    fn a_duration_that_the_bytes_can_not_hold_is_refused() {
        for (seconds, bytes, is_possible) in [
            (208.0, 616, false),
            (227.0 * 3600.0, 3_600_000, false),
            (32.0 * 24.0 * 3600.0, 512 << 20, false),
            (3600.0, 72_000, true),
            (1.0, 100, true),
            (10.0 * 24.0 * 3600.0, 512 << 20, true),
        ] {
            let claimed = judged(Sound { duration_seconds: seconds, ..sound() }, bytes).unwrap();
            assert_eq!(claimed.is_ok(), is_possible, "{seconds} s in {bytes} bytes");
        }
    }
}
