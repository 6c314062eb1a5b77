//! Recordings: the demo's, prompts, and hold music.

use super::*;
use crate::signal::level::dbfs;
use crate::signal::stretch::{Stretch, marked, settled};

/// The turns that demo/make-recordings.sh prints: file, start, end, who.
const TURNS: &str = include_str!("turns.txt");

#[test]
fn the_turns_of_the_demo_are_found() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/recordings");
    let turns: Vec<(&str, f64, f64, Role)> = TURNS
        .lines()
        .map(|line| {
            let [file, start, end, who] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let role = if who == "agent" { Role::Agent } else { Role::Caller };
            (file, start.parse().unwrap(), end.parse().unwrap(), role)
        })
        .collect();
    assert!(turns.len() > 30);
    for turns in turns.chunk_by(|one, other| one.0 == other.0) {
        let results = analysed(&folder.join(turns[0].0), &Settings::default());
        let (mut expected, mut found) = (0.0, 0.0);
        for (file, start, end, role) in turns {
            let channel = results.channels.iter().find(|channel| channel.role == *role).unwrap();
            let near: Vec<_> =
                channel.speech.iter().filter(|s| s.1 > start - 0.1 && s.0 < end + 0.1).collect();
            let (Some(first), Some(last)) = (near.first(), near.last()) else {
                panic!("{file}: {start} is missed")
            };
            assert!((first.0 - start).abs() <= 0.15, "{file}: {} begins at {start}", first.0);
            assert!((last.1 - end).abs() <= 0.25, "{file}: {} ends at {end}", last.1);
            expected += end - start;
            found += near.iter().map(|s| s.1 - s.0).sum::<f64>();
        }
        let all: f64 = results.channels.iter().map(|channel| channel.speech_seconds).sum();
        assert!((all - found).abs() < 0.01, "{}: speech where there is none", turns[0].0);
        assert!((found / expected - 1.0).abs() <= 0.1, "{}: {found} of {expected}", turns[0].0);
        assert!(results.audio.decoded_seconds > 0.0);
    }
}

#[test]
fn the_faults_of_the_demo_are_flagged() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/recordings");
    for (file, flags, summary) in [
        ("clinic-one-way.wav", &[Flag::OneWayAudio][..], "The caller can't be heard."),
        ("router-offline.wav", &[Flag::LongDeadAir], "Nothing is heard for 13 s, from 0:11 on."),
        ("flight-change.wav", &[], "The agent has 56 % of the talk and the caller 44 %."),
    ] {
        let results = analysed(&folder.join(file), &Settings::default());
        assert_eq!(results.flags, flags, "{file}");
        assert_eq!(results.summary, summary, "{file}");
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a prompt")]
fn in_ticks(seconds: f64) -> u32 {
    (seconds * 100.0).round() as u32
}

/// Steps of 10 ms, in per cent: speech that was missed, and other sound that was taken for speech.
fn errors(snr: f32, is_thorough: bool) -> (f64, f64) {
    let (mut missed, mut invented, mut speech, mut rest) = (0, 0, 0, 0);
    for (seed, prompt) in (0..).zip(prompts(30)) {
        let mut said = vec![0.0; 12_000];
        said.extend(prompt);
        said.extend([0.0; 12_000]);
        // Speech is what the clean prompt has within 40 dB of its loudest.
        let levels: Vec<f32> =
            said.chunks_exact(80).map(|tick| dbfs(tick.iter().map(|s| s * s).sum::<f32>() / 80.0)).collect();
        let loudest = levels.iter().copied().fold(-100.0, f32::max);
        let truth = settled(&marked(levels.iter().map(|level| *level > loudest - 40.0)), 20, 8);
        let power: f32 =
            truth.iter().flat_map(|s| &said[s.start as usize * 80..s.end as usize * 80]).map(|s| s * s).sum();
        let ticks: u32 = truth.iter().map(|stretch| stretch.ticks()).sum();
        let noise = noise(said.len(), dbfs(power / (ticks as f32 * 80.0)) - snr, seed);
        let settings = Settings { is_thorough, ..Settings::default() };
        let results = results_of(&[mixed_with(&said, &noise)], settings);
        let found: Vec<Stretch> = results.channels[0]
            .speech
            .iter()
            .map(|(start, end)| Stretch { start: in_ticks(*start), end: in_ticks(*end) })
            .collect();
        let is_in = |list: &[Stretch], tick: u32| list.iter().any(|s| (s.start..s.end).contains(&tick));
        for tick in 0..u32::try_from(levels.len()).unwrap() {
            match (is_in(&truth, tick), is_in(&found, tick)) {
                (true, is_found) => (speech, missed) = (speech + 1, missed + u32::from(!is_found)),
                (false, is_found) => (rest, invented) = (rest + 1, invented + u32::from(is_found)),
            }
        }
    }
    (f64::from(missed) / f64::from(speech) * 100.0, f64::from(invented) / f64::from(rest) * 100.0)
}

#[test]
fn prompts_in_noise_are_heard() {
    for (snr, missed_max, invented_max) in [(20.0, 8.0, 3.0), (10.0, 12.0, 5.0)] {
        let (missed, invented) = errors(snr, false);
        let (missed_all, invented_all) = errors(snr, true);
        show(&format!(
            "SNR {snr}: {missed:.1} % missed, {invented:.1} % invented; thorough {missed_all:.1} and {invented_all:.1}"
        ));
        assert!(missed <= missed_max && invented <= invented_max, "SNR {snr}: {missed} {invented}");
        assert!(
            missed <= missed_all + 0.5 && invented <= invented_all + 0.5,
            "silence must not be left out so"
        );
    }
}

/// So much of each track: all of them take a minute of processor time.
const MUSIC_SECONDS: usize = 60;

#[test]
fn hold_music_is_neither_speech_nor_digits() {
    let mut tracks = 0;
    for entry in std::fs::read_dir(MUSIC)
        .unwrap_or_else(|error| panic!("{MUSIC}: {error} (install asterisk-moh-opsound-wav)"))
    {
        let path = entry.unwrap().path();
        let mut track = samples(&path);
        track.truncate(MUSIC_SECONDS * 8_000);
        let results = results_of(&[track], Settings::default());
        let length = results.audio.duration_seconds;
        let of = |kind| results.events.iter().filter(move |event| event.kind == kind);
        let held: f64 = of(EventKind::HoldMusic).map(|event| event.end_seconds - event.start_seconds).sum();
        show(&format!(
            "{}: {length:.0} s, {:.2} % speech, {:.1} % music",
            path.display(),
            results.channels[0].speech_seconds / length * 100.0,
            held / length * 100.0
        ));
        assert!(results.channels[0].speech_seconds <= length * 0.01, "{}", path.display());
        assert!(held >= length * 0.9, "{}: {held} of {length}", path.display());
        assert_eq!(of(EventKind::Dtmf).count(), 0, "{}", path.display());
        tracks += 1;
    }
    assert!(tracks >= 5);
}

#[test]
fn prompts_have_neither_digits_nor_tones() {
    let said: Vec<f32> = prompts(60).concat();
    let results = results_of(&[said], Settings::default());
    let odd: Vec<_> = results.events.iter().filter(|event| event.kind != EventKind::DeadAir).collect();
    assert!(odd.is_empty(), "{odd:?}");
}
