//! The events of a recording, in the order of their start.

use callvine_domain::analysis::results::{Event, EventKind, Role};

use super::{KEYED_GAP, Track, event};
use crate::signal::Settings;
use crate::signal::conversation::{Talk, dead_airs};
use crate::signal::stretch::{Stretch, union};

/// All events. Those of a conversation are of both channels, those of sounds of one.
pub(super) fn events(
    tracks: &[Track],
    talk: Option<&Talk>,
    roles: [Role; 2],
    settings: &Settings,
) -> Vec<Event> {
    let mut events = Vec::new();
    for (channel, track) in (0..).zip(tracks) {
        let music = track.music.iter().map(|stretch| event(EventKind::HoldMusic, Some(channel), *stretch));
        events.extend(music);
        events.extend(track.tones.iter().map(|tone| Event {
            frequency_hz: Some(tone.hertz),
            ..event(tone.kind, Some(channel), tone.stretch)
        }));
        events.extend(keyed(track, channel, settings.keeps_digits));
    }
    match talk {
        Some(talk) => events.extend(of_talk(talk, roles)),
        None => {
            let heard = tracks.iter().fold(Vec::new(), |heard, track| union(&heard, &track.speech));
            let sounds = tracks.iter().fold(Vec::new(), |sounds, track| union(&sounds, &track.sounds()));
            events.extend(dead_airs(&heard, &sounds).iter().map(|air| event(EventKind::DeadAir, None, *air)));
        }
    }
    events.sort_by(|one, other| one.start_seconds.total_cmp(&other.start_seconds));
    events
}

fn of_talk(talk: &Talk, roles: [Role; 2]) -> Vec<Event> {
    let mut events: Vec<Event> =
        talk.dead_airs.iter().map(|air| event(EventKind::DeadAir, None, *air)).collect();
    events.extend(talk.talk_overs.iter().map(|over| event(EventKind::TalkOver, None, *over)));
    for ((channel, part), role) in (0..).zip(&talk.parts).zip(roles) {
        events.extend(part.interruptions.iter().map(|stretch| Event {
            by: Some(role),
            ..event(EventKind::Interruption, Some(channel), *stretch)
        }));
    }
    events
}

/// Digits that were keyed in a row, and, where `keeps` says so, which.
fn keyed(track: &Track, channel: u16, keeps: bool) -> Vec<Event> {
    let mut rows: Vec<(Stretch, String)> = Vec::new();
    for (stretch, digit) in track.digits.iter().zip(&track.heard.digits) {
        match rows.last_mut() {
            Some((row, keys)) if stretch.start < row.end + KEYED_GAP => {
                row.end = stretch.end;
                keys.push(digit.key);
            }
            _ => rows.push((*stretch, digit.key.to_string())),
        }
    }
    let row = |(stretch, keys): (Stretch, String)| Event {
        digits: u32::try_from(keys.len()).ok(),
        keys: keeps.then_some(keys),
        ..event(EventKind::Dtmf, Some(channel), stretch)
    };
    rows.into_iter().map(row).collect()
}
