//! The results of Callvine's own analysis, `callvine.results/1`.
//!
//! New fields may come within version 1; the meaning of one never changes. `null` means that it could not be told. Results
//! hold no text and no digits that were keyed, unless an operator asks for the latter.

use serde::{Deserialize, Serialize};

/// Most stretches of speech of a channel.
pub const SPEECH_MAX: usize = 5_000;

/// Most events.
pub const EVENTS_MAX: usize = 1_000;

/// Most bytes of the results as JSON.
pub const BYTES_MAX: usize = 256 * 1024;

/// The version of this format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Schema {
    /// The first.
    #[default]
    #[serde(rename = "callvine.results/1")]
    Results1,
}

/// Everything that an analysis found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(title = "callvine.results/1"))]
pub struct Results {
    /// The version of this format.
    pub schema: Schema,
    /// Name and version of the analyzer, such as `callvine/0.2.0`.
    pub analyzer: String,
    /// The recording.
    pub audio: Audio,
    /// Each channel; a single one of role `mixed` where the recording has one channel or more than two.
    #[cfg_attr(test, schemars(length(max = 2)))]
    pub channels: Vec<Channel>,
    /// The two people together; null where the recording does not have them on a channel each.
    pub conversation: Option<Conversation>,
    /// Events in the order of their start.
    #[cfg_attr(test, schemars(length(max = 1000)))]
    pub events: Vec<Event>,
    /// Faults and oddities, the gravest first; none twice.
    pub flags: Vec<Flag>,
    /// One sentence that says what a supervisor would want to know.
    pub summary: String,
}

/// The recording as it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Audio {
    /// How long it is.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub duration_seconds: f64,
    /// How much of it was decoded.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub decoded_seconds: f64,
    /// Samples a second and channel.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub sample_rate_hz: u32,
    /// Channels of the recording, from 1 to 32.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub channels: u16,
    /// As ffprobe calls it, such as `pcm_alaw`.
    pub codec: String,
}

/// The person on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Role {
    /// The one who works for the operator.
    Agent,
    /// The other.
    Caller,
    /// Everybody, on one channel.
    Mixed,
    /// Not known.
    Unknown,
}

impl Role {
    /// As in a sentence.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Caller => "caller",
            Self::Mixed => "recording",
            Self::Unknown => "channel",
        }
    }
}

/// One channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Channel {
    /// Whose it is.
    pub role: Role,
    /// Speech without the echo of the other channel; pauses shorter than 0.2 s count.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub speech_seconds: f64,
    /// Its part of the speech of both, from 0 to 1.
    #[cfg_attr(test, schemars(range(min = 0, max = 1)))]
    pub talk_share: Option<f64>,
    /// The mean power of its speech, from -100 to 0.
    #[cfg_attr(test, schemars(range(min = -100, max = 0)))]
    pub speech_level_dbfs: Option<f64>,
    /// The median level outside speech, from -100 to 0.
    #[cfg_attr(test, schemars(range(min = -100, max = 0)))]
    pub noise_level_dbfs: Option<f64>,
    /// The former less the latter.
    pub snr_db: Option<f64>,
    /// The highest sample, from -100 to 0.
    #[cfg_attr(test, schemars(range(min = -100, max = 0)))]
    pub peak_dbfs: Option<f64>,
    /// Integrated loudness by EBU R128.
    pub loudness_lufs: Option<f64>,
    /// Its clipped samples, from 0 to 1; null for codecs that smear them.
    #[cfg_attr(test, schemars(range(min = 0, max = 1)))]
    pub clipped_share: Option<f64>,
    /// The part of the recording without its speech, from 0 to 1.
    #[cfg_attr(test, schemars(range(min = 0, max = 1)))]
    pub silent_share: Option<f64>,
    /// Times that it had the floor: its stretches less than 2 s apart, with nobody else's between, are one turn.
    pub turns: Option<u32>,
    /// Its longest turn.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub longest_monologue_seconds: Option<f64>,
    /// Times that it began while the other spoke, for more than 0.5 s, and spoke on after the other had stopped.
    pub interruptions: Option<u32>,
    /// Its stretches of 1 s at most that lie within one of the other's.
    pub backchannels: Option<u32>,
    /// The median time that it took to answer.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub response_median_seconds: Option<f64>,
    /// The echo of the other channel in it.
    pub leak_from_other: Option<Leak>,
    /// Start and end of each stretch of speech, in seconds from the start of the recording.
    #[cfg_attr(test, schemars(length(max = 5000)))]
    pub speech: Vec<(f64, f64)>,
}

/// The echo of one channel in the other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Leak {
    /// How much less loud it is than its source.
    pub loss_db: f64,
    /// How long after its source it comes.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub delay_seconds: f64,
}

/// The two people together, from the first speech to the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Conversation {
    /// When anybody first spoke.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub first_speech_seconds: Option<f64>,
    /// Both at once, for 0.3 s or more each time.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub talk_over_seconds: f64,
    /// Its part of the conversation, from 0 to 1.
    #[cfg_attr(test, schemars(range(min = 0, max = 1)))]
    pub talk_over_share: Option<f64>,
    /// How often.
    pub talk_overs: u32,
    /// Neither of the two.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub silence_seconds: f64,
    /// Its part of the conversation, from 0 to 1.
    #[cfg_attr(test, schemars(range(min = 0, max = 1)))]
    pub silence_share: Option<f64>,
    /// The longest time of neither.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub longest_silence_seconds: f64,
    /// Neither speech nor music nor a tone, for 5 s or more each time.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub dead_air_seconds: f64,
    /// How often.
    pub dead_airs: u32,
    /// Hold music.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub hold_seconds: f64,
    /// How often the floor passed from one to the other.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub turn_changes_per_minute: f64,
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum EventKind {
    /// Nothing at all for 5 s or more, between the first speech and the last.
    DeadAir,
    /// Music for 5 s or more.
    HoldMusic,
    /// The called telephone rings.
    Ringback,
    /// The line is busy.
    Busy,
    /// Digits were keyed.
    Dtmf,
    /// A fax calls or answers.
    Fax,
    /// A single tone, as voice mail and recorders give.
    Beep,
    /// Both spoke.
    TalkOver,
    /// One began before the other was done.
    Interruption,
}

/// Something that happened at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Event {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// From 0; null where it is about all.
    pub channel: Option<u16>,
    /// When it began.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub start_seconds: f64,
    /// When it ended.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub end_seconds: f64,
    /// How many digits were keyed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub digits: Option<u32>,
    /// Which they were; only where an operator asks for it, since people key the numbers of their cards.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub keys: Option<String>,
    /// The frequency of a tone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub frequency_hz: Option<u16>,
    /// The one who did it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<Role>,
}

/// A fault or an oddity. In the order of their gravity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Flag {
    /// One of the two was never heard.
    OneWayAudio,
    /// Nobody was ever heard.
    NoSpeech,
    /// The recording is not as long as the call.
    DurationMismatch,
    /// Only a part of the recording was analysed, or only a part of the results is kept.
    Partial,
    /// A fax machine.
    Fax,
    /// Both channels carry the same.
    ChannelsIdentical,
    /// Dead air of 10 s or more.
    LongDeadAir,
    /// Hold music of more than 120 s.
    LongHold,
    /// Both spoke at once for more than a tenth of the conversation.
    MuchTalkOver,
    /// The agent had more than 70 % of the speech.
    AgentDominates,
    /// One channel is so loud in the other that talk-over can't be told for sure.
    LeakFromOther,
    /// More than 0.1 % of the samples of a channel are clipped.
    Clipped,
    /// Speech is less than 15 dB above the noise.
    Noisy,
    /// Speech is below -35 dBFS.
    TooQuiet,
    /// Speech is above -12 dBFS.
    TooLoud,
}

/// Rounds to so many steps of one: 100 keep two decimals. Never gives a negative zero.
#[must_use]
pub fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps + 0.0
}

impl Results {
    /// Cuts the lists until the results are within their bounds, and says so by [`Flag::Partial`].
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let mut share = 1;
        while share <= EVENTS_MAX && self.exceeds(share) {
            for channel in &mut self.channels {
                channel.speech.truncate(SPEECH_MAX / share);
            }
            self.events.truncate(EVENTS_MAX / share);
            self.flags.push(Flag::Partial);
            share *= 2;
        }
        self.flags.sort_unstable();
        self.flags.dedup();
        self
    }

    fn exceeds(&self, share: usize) -> bool {
        self.channels.iter().any(|channel| channel.speech.len() > SPEECH_MAX / share)
            || self.events.len() > EVENTS_MAX / share
            || serde_json::to_vec(self).map_or(0, |json| json.len()) > BYTES_MAX
    }
}

#[cfg(test)]
mod tests;
