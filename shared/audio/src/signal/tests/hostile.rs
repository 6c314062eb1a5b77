//! Samples that no call has: every shape and every value ends in results within their bounds.

use callvine_domain::analysis::results::BYTES_MAX;

use super::*;
use crate::signal::sounds::tones;

#[test]
fn every_shape_is_analysed_or_said_to_be_left_out() {
    for (channels, sample_rate) in
        [(1, 1), (2, 3_999), (1, 4_000), (2, 8_001), (2, 96_000), (32, 8_000), (3, 44_100), (1, 768_000)]
    {
        let shape = Shape { channels, sample_rate };
        let mut random = fastrand::Rng::with_seed(u64::from(sample_rate));
        let count = usize::from(channels) * sample_rate as usize / 4 * usize::from(channels > 1)
            + usize::from(channels);
        let samples: Vec<i16> = (0..count).map(|_| random.i16(..)).collect();
        let results = heard(shape, &samples, Settings::default());
        let is_heard = sample_rate >= RATE_MIN;
        assert_eq!(
            results.channels.len(),
            if !is_heard {
                0
            } else if channels == 2 {
                2
            } else {
                1
            },
            "{shape:?}"
        );
        assert_eq!(results.conversation.is_some(), is_heard && channels == 2, "{shape:?}");
        assert!(serde_json::to_vec(&results).unwrap().len() <= BYTES_MAX);
    }
}

#[test]
fn extremes_and_nothing_at_all_are_analysed() {
    let shape = Shape { channels: 2, sample_rate: 8_000 };
    for value in [0, 1, i16::MAX, i16::MIN] {
        let results = heard(shape, &vec![value; 160_000], Settings::default());
        assert_eq!(results.flags.first(), Some(&Flag::NoSpeech), "{value}");
        let numbers = serde_json::to_string(&results).unwrap();
        assert!(!numbers.contains("e-") && !numbers.contains("-0.0,"), "{numbers}");
    }
    assert_eq!(heard(shape, &[], Settings::default()).flags, [Flag::NoSpeech]);
}

#[test]
fn keyed_digits_are_counted_and_told_only_when_asked_for() {
    let mut samples = vec![0.0; 8_000];
    for _ in 0..4 {
        samples.extend(tones(&[(770.0, -20.0), (1_336.0, -20.0)], 800));
        samples.extend([0.0; 800]);
    }
    for keeps_digits in [false, true] {
        let results = results_of(&[samples.clone()], Settings { keeps_digits, ..Settings::default() });
        let [event] = &results.events[..] else { panic!("{:?}", results.events) };
        assert_eq!((event.kind, event.digits), (EventKind::Dtmf, Some(4)));
        assert_eq!(event.keys.as_deref(), keeps_digits.then_some("5555"));
    }
}

#[test]
fn nothing_is_said_of_sound_that_was_not_decoded() {
    let shape = Shape { channels: 2, sample_rate: 8_000 };
    let whole = Facts {
        media_type: "audio/ogg",
        codec: "opus".into(),
        duration_seconds: 60.0,
        shape,
        verification: callvine_domain::recording::Verification::HeaderOnly,
        ending: crate::Ending::Told,
    };
    let nothing = Signal::new(Settings::default()).finish(&whole);
    assert_eq!(nothing.flags, [Flag::Partial]);
    assert!(nothing.summary.contains("can't be analysed"), "{}", nothing.summary);
    let mut signal = Signal::new(Settings::default());
    signal.hear(shape, &[0; 160_000]);
    assert_eq!(signal.finish(&whole).flags, [Flag::Partial], "ten seconds of silence out of sixty");
}
