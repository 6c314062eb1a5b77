//! From what was heard of each channel to results.

use callvine_domain::analysis::results::{
    Audio, Channel, Conversation, Event, EventKind, Leak, Results, Role, Schema, rounded,
};
use callvine_domain::analysis::summary;

use super::channel::Heard;
use super::conversation::{self, Talk};
use super::echo::{self, Echo, Side as EchoSide};
use super::flags::{self, Circumstances};
use super::stretch::{Stretch, TICKS, gaps, settled, total, union};
use super::tones::{self, Sound};
use super::{Settings, Side, speech};
use crate::{Facts, seconds};

mod events;

/// Ticks of rest that end a row of keyed digits.
const KEYED_GAP: u32 = 300;

/// A channel with what was made out in it.
struct Track {
    heard: Heard,
    /// Speech of its own.
    speech: Vec<Stretch>,
    /// Speech, also that which is echo of the other.
    all_speech: Vec<Stretch>,
    echo: Option<Echo>,
    tones: Vec<Sound>,
    music: Vec<Stretch>,
    digits: Vec<Stretch>,
}

impl Track {
    fn new(heard: Heard) -> Self {
        let marks = speech::marks(&heard.steps, heard.levels.ticks());
        let all_speech = speech::stretches(&marks);
        let digits: Vec<Stretch> = heard.digits.iter().map(|digit| sampled(digit.start, digit.end)).collect();
        let tones = tones::tones(&heard.steps, &digits);
        let music = tones::music(&heard.steps, &heard.levels);
        Self { speech: all_speech.clone(), all_speech, echo: None, tones, music, digits, heard }
    }

    /// Everything that sounds and is no speech.
    fn sounds(&self) -> Vec<Stretch> {
        let tones: Vec<Stretch> = self.tones.iter().map(|tone| tone.stretch).collect();
        union(&union(&tones, &self.music), &settled(&self.digits, 1, 1))
    }
}

/// The results of a recording of which so many frames were heard.
pub(super) fn results(heard: Vec<Heard>, frames: u64, facts: &Facts, settings: &Settings) -> Results {
    let mut tracks: Vec<Track> = heard.into_iter().map(Track::new).collect();
    let are_identical = separate(&mut tracks);
    let talk = match tracks.as_slice() {
        [one, other] if !are_identical => {
            let sounds = union(&one.sounds(), &other.sounds());
            Some(conversation::talk([&one.speech, &other.speech], &sounds))
        }
        _ => None,
    };
    let roles = roles(&tracks, are_identical, settings.agent);
    let channels = (0..).zip(&tracks).zip(roles);
    let channels = channels.map(|((at, track), role)| channel(track, at, role, talk.as_ref(), facts));
    let hold: u32 = total(&held(&tracks));
    let mut results = Results {
        schema: Schema::Results1,
        analyzer: settings.analyzer.clone(),
        audio: Audio {
            duration_seconds: rounded(facts.duration_seconds, 100.0),
            decoded_seconds: rounded(seconds(frames, facts.shape.sample_rate), 100.0),
            sample_rate_hz: facts.shape.sample_rate,
            channels: facts.shape.channels,
            codec: facts.codec.to_string(),
        },
        channels: channels.collect(),
        conversation: talk.as_ref().map(|talk| together(talk, hold)),
        events: events::events(&tracks, talk.as_ref(), roles, settings),
        flags: Vec::new(),
        summary: String::new(),
    };
    let circumstances = Circumstances { are_identical, call_seconds: settings.call_seconds };
    results.flags = flags::flags(&results, &circumstances);
    let mut results = results.bounded();
    results.summary = summary(&results);
    results
}

/// Takes the echo of each of two channels out of the other. Says whether both are the same instead.
fn separate(tracks: &mut [Track]) -> bool {
    let [one, other] = tracks else { return false };
    let marks = [&*one, &*other].map(|track| speech::marks(&track.heard.steps, track.heard.levels.ticks()));
    let sides = [(&*one, &marks[0]), (&*other, &marks[1])]
        .map(|(track, marks)| EchoSide { levels: &track.heard.levels, marks });
    let [left, right] = sides;
    if echo::are_identical(left, right) && echo::are_identical(right, left) {
        return true;
    }
    let echoes = [echo::find(right, left), echo::find(left, right)];
    let own = [
        echo::removed(right, left, echoes[0], usual(left, right)),
        echo::removed(left, right, echoes[1], usual(right, left)),
    ];
    for ((track, own), echo) in [one, other].into_iter().zip(own).zip(echoes) {
        track.speech = speech::stretches(&own);
        track.echo = echo;
    }
    false
}

/// How loud a side speaks while the other doesn't, in dBFS.
fn usual(side: EchoSide<'_>, other: EchoSide<'_>) -> f32 {
    let alone = side.marks.iter().enumerate().map(|(at, mark)| *mark && other.marks.get(at) != Some(&true));
    let alone = super::stretch::marked(alone);
    side.levels.mean(&alone).unwrap_or(0.0)
}

fn roles(tracks: &[Track], are_identical: bool, agent: Side) -> [Role; 2] {
    match (tracks.len(), agent) {
        (2, _) if are_identical => [Role::Mixed; 2],
        (2, Side::Left) => [Role::Agent, Role::Caller],
        (2, Side::Right) => [Role::Caller, Role::Agent],
        _ => [Role::Mixed; 2],
    }
}

fn channel(track: &Track, at: usize, role: Role, talk: Option<&Talk>, facts: &Facts) -> Channel {
    let (heard, length) = (&track.heard, facts.duration_seconds);
    let whole = Stretch { start: 0, end: u32::try_from(heard.levels.ticks()).unwrap_or(u32::MAX) };
    let noise = gaps(&union(&track.all_speech, &track.sounds()), whole);
    let (speech_level, noise_level) = (heard.levels.mean(&track.speech), heard.levels.median(&noise));
    let speech_seconds = f64::from(total(&track.speech)) / f64::from(TICKS);
    let part = talk.and_then(|talk| talk.parts.get(at));
    let all: f64 = talk.map_or(0.0, |talk| f64::from(talk.speech));
    let decibels = |level: Option<f32>| level.map(|level| rounded(f64::from(level), 10.0));
    let leak = |echo: Echo| Leak {
        loss_db: f64::from(echo.loss_db),
        delay_seconds: ticks(u32::try_from(echo.delay_ticks).unwrap_or(u32::MAX)),
    };
    Channel {
        role,
        speech_seconds: rounded(speech_seconds, 100.0),
        talk_share: part
            .filter(|_| all > 0.0)
            .map(|_| rounded(speech_seconds * f64::from(TICKS) / all, 1_000.0)),
        speech_level_dbfs: decibels(speech_level),
        noise_level_dbfs: decibels(noise_level),
        snr_db: decibels(speech_level.zip(noise_level).map(|(speech, noise)| speech - noise)),
        peak_dbfs: decibels(Some(heard.clipping.peak_dbfs())),
        loudness_lufs: heard.loudness_lufs.map(|lufs| rounded(lufs, 10.0)),
        clipped_share: heard.clipping.share(&facts.codec).map(|share| rounded(share, 100_000.0)),
        silent_share: Some(rounded((1.0 - speech_seconds / length.max(0.01)).clamp(0.0, 1.0), 1_000.0)),
        turns: part.map(|part| part.turns),
        longest_monologue_seconds: part.map(|part| ticks(part.longest_turn)),
        interruptions: part.map(|part| u32::try_from(part.interruptions.len()).unwrap_or(u32::MAX)),
        backchannels: part.map(|part| part.backchannels),
        response_median_seconds: part.and_then(|part| part.response_median).map(ticks),
        leak_from_other: track.echo.map(leak),
        speech: track.speech.iter().map(|stretch| (ticks(stretch.start), ticks(stretch.end))).collect(),
    }
}

fn together(talk: &Talk, hold: u32) -> Conversation {
    let span = talk.span.map_or(0, Stretch::ticks);
    let share = |part: u32| (span > 0).then(|| rounded(f64::from(part) / f64::from(span), 1_000.0));
    let minutes = f64::from(span) / f64::from(TICKS) / 60.0;
    let changes = if span > 0 { f64::from(talk.turn_changes) / minutes } else { 0.0 };
    Conversation {
        first_speech_seconds: talk.span.map(|span| ticks(span.start)),
        talk_over_seconds: ticks(total(&talk.talk_overs)),
        talk_over_share: share(total(&talk.talk_overs)),
        talk_overs: u32::try_from(talk.talk_overs.len()).unwrap_or(u32::MAX),
        silence_seconds: ticks(talk.silence),
        silence_share: share(talk.silence),
        longest_silence_seconds: ticks(talk.longest_silence),
        dead_air_seconds: ticks(total(&talk.dead_airs)),
        dead_airs: u32::try_from(talk.dead_airs.len()).unwrap_or(u32::MAX),
        hold_seconds: ticks(hold),
        turn_changes_per_minute: rounded(changes, 10.0),
    }
}

/// Hold music on any channel.
fn held(tracks: &[Track]) -> Vec<Stretch> {
    tracks.iter().fold(Vec::new(), |held, track| union(&held, &track.music))
}

/// In seconds.
fn ticks(ticks: u32) -> f64 {
    rounded(f64::from(ticks) / f64::from(TICKS), 100.0)
}

/// The ticks of a stretch of samples at 8 kHz.
fn sampled(start: u64, end: u64) -> Stretch {
    let tick = |sample: u64| u32::try_from(sample / 80).unwrap_or(u32::MAX);
    Stretch { start: tick(start), end: tick(end) }
}

fn event(kind: EventKind, channel: Option<u16>, stretch: Stretch) -> Event {
    Event {
        kind,
        channel,
        start_seconds: ticks(stretch.start),
        end_seconds: ticks(stretch.end),
        digits: None,
        keys: None,
        frequency_hz: None,
        by: None,
    }
}
