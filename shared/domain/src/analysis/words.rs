//! Results in plain words.

use super::results::{EventKind, Flag, Results};

impl Flag {
    /// Its meaning, as a sentence.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::OneWayAudio => "Only one of the two can be heard.",
            Self::NoSpeech => "Nobody speaks in this recording.",
            Self::DurationMismatch => "The recording is not as long as the call.",
            Self::Partial => {
                "Only a part of the recording was analysed, or only a part of the findings is kept."
            }
            Self::Fax => "A fax machine was on the line.",
            Self::ChannelsIdentical => {
                "Both channels carry the same sound, so nothing tells agent and caller apart."
            }
            Self::LongDeadAir => "There is nothing to hear for ten seconds or more.",
            Self::LongHold => "There is hold music for more than two minutes.",
            Self::MuchTalkOver => "Both speak at the same time for more than a tenth of the conversation.",
            Self::AgentDominates => "The agent does more than 70 % of the talking.",
            Self::LeakFromOther => {
                "Each can be heard on the other's channel, so talk-over can't be told for sure."
            }
            Self::Clipped => "The sound is distorted, since it is louder than the recording can hold.",
            Self::Noisy => "Noise makes the speech hard to follow.",
            Self::TooQuiet => "Speech is very quiet.",
            Self::TooLoud => "Speech is very loud.",
        }
    }
}

/// One sentence that says what a supervisor would want to know: the gravest flag, with its place or figure where it has one;
/// else who spoke how much.
#[must_use]
pub fn summary(results: &Results) -> String {
    if results.channels.is_empty() {
        return "The sound of this recording can't be analysed, so nothing is known about it.".to_owned();
    }
    let Some(flag) = results.flags.first() else { return plain(results) };
    let unheard = || results.channels.iter().min_by(|a, b| a.speech_seconds.total_cmp(&b.speech_seconds));
    let longest = |kind: EventKind| {
        let of_kind = results.events.iter().filter(|event| event.kind == kind);
        of_kind.max_by(|a, b| (a.end_seconds - a.start_seconds).total_cmp(&(b.end_seconds - b.start_seconds)))
    };
    match flag {
        Flag::OneWayAudio => unheard().map(|channel| format!("The {} can't be heard.", channel.role.name())),
        Flag::LongDeadAir => longest(EventKind::DeadAir).map(|event| {
            let seconds = event.end_seconds - event.start_seconds;
            format!("Nothing is heard for {seconds:.0} s, from {} on.", clock(event.start_seconds))
        }),
        Flag::LongHold => longest(EventKind::HoldMusic).map(|event| {
            let seconds = event.end_seconds - event.start_seconds;
            format!("Hold music plays for {seconds:.0} s, from {} on.", clock(event.start_seconds))
        }),
        _ => None,
    }
    .unwrap_or_else(|| flag.sentence().to_owned())
}

fn plain(results: &Results) -> String {
    let shares =
        results.channels.iter().filter_map(|channel| Some((channel.role.name(), channel.talk_share?)));
    match shares.collect::<Vec<_>>().as_slice() {
        [(one, share), (other, rest)] => {
            format!("The {one} has {:.0} % of the talk and the {other} {:.0} %.", share * 100.0, rest * 100.0)
        }
        _ => {
            let speech: f64 = results.channels.iter().map(|channel| channel.speech_seconds).sum();
            format!("There are {speech:.0} s of speech in {:.0} s.", results.audio.duration_seconds)
        }
    }
}

/// Minutes and seconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a recording")]
fn clock(seconds: f64) -> String {
    let seconds = seconds as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
