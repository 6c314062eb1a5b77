//! Judges results: which faults and oddities they show.

use callvine_domain::analysis::results::{Channel, EventKind, Flag, Results, Role};

/// Speech below which a channel is not heard: a share of the recording, and a highest sample in dBFS.
const UNHEARD_SHARE: f64 = 0.01;
const UNHEARD_DBFS: f64 = -60.0;

/// Speech of the other, in seconds, from which on that is odd.
const HEARD_SECONDS: f64 = 10.0;

/// Less speech than this, in seconds, is none.
const SPEECH_SECONDS_MIN: f64 = 0.5;

/// A recording that differs by more from the call's own length, in seconds and as a share of the call, is not the whole call.
/// Ringing, which some recorders leave out, is shorter.
const MISMATCH_SECONDS: f64 = 15.0;
const MISMATCH_SHARE: f64 = 0.2;

/// See [`Flag`].
const DEAD_AIR_SECONDS: f64 = 10.0;
const HOLD_SECONDS: f64 = 120.0;
const TALK_OVER_SHARE: f64 = 0.1;
const AGENT_SHARE: f64 = 0.7;
const LEAK_DB: f64 = 10.0;
const CLIPPED_SHARE: f64 = 0.001;
const NOISY_DB: f64 = 15.0;
const QUIET_DBFS: f64 = -35.0;
const LOUD_DBFS: f64 = -12.0;

/// Speech of both, in seconds, from which on it matters who has the most.
const TALK_SECONDS_MIN: f64 = 30.0;

/// Decoded less than this share of the recording is a part.
const WHOLE_SHARE: f64 = 0.99;

/// The circumstances that neither results nor events tell.
pub(super) struct Circumstances {
    pub(super) are_identical: bool,
    pub(super) call_seconds: Option<f64>,
}

/// The flags, the gravest first.
pub(super) fn flags(results: &Results, circumstances: &Circumstances) -> Vec<Flag> {
    let (channels, audio) = (results.channels.as_slice(), &results.audio);
    let speech: f64 = channels.iter().map(|channel| channel.speech_seconds).sum();
    let longest = |kind: EventKind| {
        let of_kind = results.events.iter().filter(|event| event.kind == kind);
        of_kind.map(|event| event.end_seconds - event.start_seconds).fold(0.0, f64::max)
    };
    // Nobody knows who speaks in what was not decoded.
    let is_whole = audio.decoded_seconds >= audio.duration_seconds * WHOLE_SHARE - 0.1;
    let is_one_way = is_whole && one_way(channels, audio.duration_seconds);
    let held: f64 = sum(results, EventKind::HoldMusic);
    let any = |test: &dyn Fn(&Channel) -> bool| channels.iter().any(test);
    let below = |value: Option<f64>, limit: f64| value.is_some_and(|value| value < limit);
    let above = |value: Option<f64>, limit: f64| value.is_some_and(|value| value > limit);
    let mismatch = circumstances.call_seconds.is_some_and(|call| {
        let off = (audio.duration_seconds - call).abs();
        off > MISMATCH_SECONDS && off > call * MISMATCH_SHARE
    });
    let leaks = any(&|channel| below(channel.leak_from_other.map(|leak| leak.loss_db), LEAK_DB));
    let mut flags: Vec<Flag> = [
        (Flag::OneWayAudio, is_one_way),
        (Flag::NoSpeech, is_whole && speech < SPEECH_SECONDS_MIN),
        (Flag::DurationMismatch, mismatch),
        (Flag::Partial, !is_whole),
        (Flag::Fax, results.events.iter().any(|event| event.kind == EventKind::Fax)),
        (Flag::ChannelsIdentical, circumstances.are_identical),
        (Flag::LongDeadAir, longest(EventKind::DeadAir) >= DEAD_AIR_SECONDS),
        (Flag::LongHold, held > HOLD_SECONDS),
        (
            Flag::MuchTalkOver,
            !leaks && above(results.conversation.and_then(|c| c.talk_over_share), TALK_OVER_SHARE),
        ),
        (Flag::AgentDominates, !is_one_way && speech >= TALK_SECONDS_MIN && agent_dominates(channels)),
        (Flag::LeakFromOther, leaks),
        (Flag::Clipped, any(&|channel| above(channel.clipped_share, CLIPPED_SHARE))),
        (Flag::Noisy, any(&|channel| below(channel.snr_db, NOISY_DB))),
        (Flag::TooQuiet, any(&|channel| below(channel.speech_level_dbfs, QUIET_DBFS))),
        (Flag::TooLoud, any(&|channel| above(channel.speech_level_dbfs, LOUD_DBFS))),
    ]
    .into_iter()
    .filter_map(|(flag, is_so)| is_so.then_some(flag))
    .collect();
    flags.sort_unstable();
    flags
}

fn one_way(channels: &[Channel], duration_seconds: f64) -> bool {
    let [one, other] = channels else { return false };
    let unheard = |channel: &Channel| {
        channel.speech_seconds < duration_seconds * UNHEARD_SHARE
            || channel.peak_dbfs.is_some_and(|peak| peak < UNHEARD_DBFS)
    };
    let heard = |channel: &Channel| channel.speech_seconds >= HEARD_SECONDS && !unheard(channel);
    unheard(one) && heard(other) || heard(one) && unheard(other)
}

fn agent_dominates(channels: &[Channel]) -> bool {
    channels.iter().any(|channel| {
        channel.role == Role::Agent && channel.talk_share.is_some_and(|share| share > AGENT_SHARE)
    })
}

fn sum(results: &Results, kind: EventKind) -> f64 {
    let of_kind = results.events.iter().filter(|event| event.kind == kind);
    of_kind.map(|event| event.end_seconds - event.start_seconds).sum()
}
