//! Names the tones and the music of one channel by their frequency, length and rhythm.

use callvine_domain::analysis::results::EventKind;

use super::activity::{AUDIBLE_DBFS, SPEECH, Step, share};
use super::level::Levels;
use super::stretch::{Stretch, settled};

/// Fewest steps of a tone: 96 ms.
const STEPS_MIN: usize = 3;

/// How far a tone's frequency may move, in hertz.
const DRIFT_HZ: u16 = 30;

/// A single tone, in ticks.
const BEEP: std::ops::RangeInclusive<u32> = 15..=150;

/// Flatness below which sound is music.
const MUSIC_FLATNESS: u8 = share(0.1);

/// Least deviation of the level of music, in dB. That of a steady tone is less.
const MUSIC_DEVIATION_DB: f32 = 1.5;

/// Gaps in music, in ticks, and the least length of music.
const MUSIC_BRIDGE: u32 = 100;
const MUSIC_MIN: u32 = 500;

/// A tone or music.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sound {
    pub(super) kind: EventKind,
    pub(super) stretch: Stretch,
    /// 0 where there is more than one.
    pub(super) hertz: u16,
}

/// A tone that lasts.
#[derive(Clone, Copy, Debug)]
struct Run {
    stretch: Stretch,
    hertz: u16,
}

impl Run {
    const fn lasts(self, from: u32, to: u32) -> bool {
        let ticks = self.stretch.ticks();
        from <= ticks && ticks <= to
    }
}

/// The tick at which a step begins.
pub(super) fn tick_of(step: usize) -> u32 {
    u32::try_from(step * 16 / 5).unwrap_or(u32::MAX)
}

/// The named tones, without those that are keyed digits.
pub(super) fn tones(steps: &[Step], digits: &[Stretch]) -> Vec<Sound> {
    let mut runs = runs(steps);
    runs.retain(|run| digits.iter().all(|digit| digit.overlap(run.stretch).ticks() == 0));
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = runs.get(at..).filter(|rest| !rest.is_empty()) {
        let (sound, used) = named(rest, at.checked_sub(1).and_then(|before| runs.get(before)));
        found.extend(sound);
        at += used.max(1);
    }
    joined(&found)
}

fn runs(steps: &[Step]) -> Vec<Run> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = steps.get(at) {
        if first.hertz == 0 {
            at += 1;
            continue;
        }
        let same = |step: &&Step| step.hertz > 0 && step.hertz.abs_diff(first.hertz) <= DRIFT_HZ;
        let length = steps.iter().skip(at).take_while(same).count();
        if length >= STEPS_MIN {
            // The first and the last step are heard in part.
            let hertz = steps.get(at + length / 2).map_or(0, |step| step.hertz);
            let stretch = Stretch { start: tick_of(at), end: tick_of(at + length) };
            found.push(Run { stretch, hertz });
        }
        at += length;
    }
    found
}

/// The name of the first of these runs, with the number of runs that belong to it.
fn named(runs: &[Run], before: Option<&Run>) -> (Option<Sound>, usize) {
    let Some(first) = runs.first() else { return (None, 0) };
    let sound = |kind, last: &Run| Sound {
        kind,
        stretch: Stretch { start: first.stretch.start, end: last.stretch.end },
        hertz: first.hertz,
    };
    if let Some((last, count)) = busy(runs) {
        return (Some(sound(EventKind::Busy, last)), count);
    }
    if let Some(last) = double_ring(runs, before) {
        return (Some(sound(EventKind::Ringback, last)), 2);
    }
    let kind = match first.hertz {
        380..=490 if first.lasts(80, 240) => EventKind::Ringback,
        1_060..=1_140 if first.lasts(40, 62) && calls_again(runs) => EventKind::Fax,
        2_060..=2_140 if first.stretch.ticks() >= 200 => EventKind::Fax,
        _ if BEEP.contains(&first.stretch.ticks()) => EventKind::Beep,
        _ => return (None, 1),
    };
    (Some(sound(kind, first)), 1)
}

/// Three or more times as much tone as pause: the last of them, and how many.
fn busy(runs: &[Run]) -> Option<(&Run, usize)> {
    let goes_on = |pair: &[Run]| match pair {
        [one, other] => {
            let pause = other.stretch.start.saturating_sub(one.stretch.end);
            one.lasts(18, 78)
                && other.lasts(18, 78)
                && (18..=78).contains(&pause)
                && one.hertz.abs_diff(other.hertz) <= DRIFT_HZ
                && one.stretch.ticks().abs_diff(pause) <= 15
        }
        _ => false,
    };
    let pairs = runs.windows(2).take_while(|pair| goes_on(pair)).count();
    let first = runs.first()?;
    let is_busy = (380..=650).contains(&first.hertz) && pairs >= 2;
    runs.get(pairs).filter(|_| is_busy).map(|last| (last, pairs + 1))
}

/// The second of two short rings, as in the United Kingdom: with a long pause before and behind.
fn double_ring<'a>(runs: &'a [Run], before: Option<&Run>) -> Option<&'a Run> {
    let [one, other, ..] = runs else { return None };
    let pause = |earlier: &Run, later: &Run| later.stretch.start.saturating_sub(earlier.stretch.end);
    let is_ring = |run: &Run| (350..=500).contains(&run.hertz) && run.lasts(28, 52);
    let is_alone = before.is_none_or(|before| pause(before, one) >= 120)
        && runs.get(2).is_none_or(|next| pause(other, next) >= 120);
    (is_ring(one) && is_ring(other) && (10..=32).contains(&pause(one, other)) && is_alone).then_some(other)
}

/// Whether a fax calls again after 3 s, or called before.
fn calls_again(runs: &[Run]) -> bool {
    let [one, other, ..] = runs else { return true };
    (250..=400).contains(&other.stretch.start.saturating_sub(one.stretch.end))
        || other.stretch.start > one.stretch.end + 400
}

/// Rings and fax calls that follow each other are one event.
fn joined(sounds: &[Sound]) -> Vec<Sound> {
    let mut found: Vec<Sound> = Vec::new();
    for sound in sounds {
        match found.last_mut() {
            Some(last)
                if last.kind == sound.kind
                    && matches!(sound.kind, EventKind::Ringback | EventKind::Fax)
                    && sound.stretch.start.saturating_sub(last.stretch.end) <= 550 =>
            {
                last.stretch.end = sound.stretch.end;
            }
            _ => found.push(*sound),
        }
    }
    found
}

/// The stretches of hold music.
pub(super) fn music(steps: &[Step], levels: &Levels) -> Vec<Stretch> {
    let is_sound = |step: &Step| step.flatness.is_some() && step.speech < SPEECH;
    let sound = (0..).zip(steps).filter(|(_, step)| is_sound(step));
    let stretches: Vec<Stretch> =
        sound.map(|(at, _)| Stretch { start: tick_of(at), end: tick_of(at + 1) }).collect();
    let mut found = settled(&stretches, MUSIC_BRIDGE, MUSIC_MIN);
    found.retain(|stretch| {
        let inside = (0..).zip(steps).filter(|(at, _)| (stretch.start..stretch.end).contains(&tick_of(*at)));
        let mut flatness: Vec<u8> = inside.filter_map(|(_, step)| step.flatness).collect();
        flatness.sort_unstable();
        let median = flatness.get(flatness.len() / 2).copied().unwrap_or(u8::MAX);
        let is_heard = levels.median(&[*stretch]).is_some_and(|level| level > AUDIBLE_DBFS - 6.0);
        median < MUSIC_FLATNESS && levels.deviation(*stretch) > MUSIC_DEVIATION_DB && is_heard
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::activity::Activity;
    use crate::signal::sounds::{noise, tones as synth};

    type Tones<'a> = &'a [(f64, f32)];

    /// Tones with pauses, all in hundredths of a second.
    fn heard(pair: Tones<'_>, rhythm: &[u32]) -> Vec<(EventKind, u32, u32)> {
        let mut samples = vec![0.0; 8_000];
        for (at, ticks) in rhythm.iter().enumerate() {
            samples.extend(if at % 2 == 0 {
                synth(pair, ticks * 80)
            } else {
                vec![0.0; *ticks as usize * 80]
            });
        }
        samples.extend([0.0; 8_000]);
        let samples: Vec<f32> =
            samples.iter().zip(noise(samples.len(), -62.0, 5)).map(|(a, b)| a + b).collect();
        let mut activity = Activity::new(false);
        activity.hear(&samples);
        let sounds = tones(&activity.finish(), &[]);
        sounds.iter().map(|sound| (sound.kind, sound.stretch.start, sound.stretch.end)).collect()
    }

    #[test]
    fn the_tones_of_a_line_have_their_names() {
        use EventKind::{Beep, Busy, Fax, Ringback};
        const US: Tones<'_> = &[(440.0, -22.0), (480.0, -22.0)];
        for (name, tones, rhythm, kind) in [
            ("US ring", US, &[200, 400, 200, 400, 200][..], Ringback),
            ("US ring, once", US, &[200], Ringback),
            ("EU ring", &[(425.0, -22.0)], &[100, 400, 100, 400], Ringback),
            (
                "UK ring",
                &[(400.0, -22.0), (450.0, -22.0)],
                &[40, 20, 40, 200, 40, 20, 40, 200, 40, 20, 40],
                Ringback,
            ),
            ("US busy", &[(480.0, -22.0), (620.0, -22.0)], &[50, 50, 50, 50, 50, 50, 50], Busy),
            ("US reorder", &[(480.0, -22.0), (620.0, -22.0)], &[25, 25, 25, 25, 25, 25, 25], Busy),
            ("EU busy", &[(425.0, -22.0)], &[48, 48, 48, 48, 48, 48], Busy),
            ("fax calling", &[(1_100.0, -20.0)], &[50, 300, 50, 300, 50], Fax),
            ("fax answering", &[(2_100.0, -20.0)], &[300], Fax),
            ("beep", &[(1_400.0, -20.0)], &[40], Beep),
            ("beep, low", &[(440.0, -20.0)], &[20], Beep),
        ] {
            let found = heard(tones, rhythm);
            let [(found_kind, start, end)] = found[..] else { panic!("{name}: {found:?}") };
            let last = 100 + rhythm.iter().sum::<u32>()
                - if rhythm.len() % 2 == 0 { rhythm[rhythm.len() - 1] } else { 0 };
            assert_eq!(found_kind, kind, "{name}");
            assert!(
                start.abs_diff(100) <= 8 && end.abs_diff(last) <= 8,
                "{name}: {start} to {end}, not {last}"
            );
        }
        assert_eq!(heard(&[(350.0, -20.0), (440.0, -20.0)], &[800]), [], "a dial tone has no name");
        assert_eq!(heard(&[(440.0, -70.0)], &[200]), [], "nobody hears it");
    }
}
