//! Conversations that are put together from prompts, whose talk-over, echo and levels are known.

use super::*;

/// A conversation of 120 s: two people in turn, some of it at the same time. Also the samples each spoke, and both.
fn conversation() -> ([Vec<f32>; 2], [usize; 2], usize) {
    let length = 120 * 8_000;
    let (mut channels, mut spoken) =
        ([vec![0.0; length], vec![0.0; length]], [vec![false; length], vec![false; length]]);
    let (mut at, mut who) = (4_000, 0);
    for (turn, prompt) in prompts(60).iter().cycle().enumerate() {
        if at + prompt.len() + 8_000 > length {
            break;
        }
        channels[who][at..at + prompt.len()].copy_from_slice(prompt);
        spoken[who][at..at + prompt.len()].fill(true);
        // Every ninth turn begins 0.8 s before the other is done.
        at += prompt.len();
        at = if turn % 9 == 8 { at - 6_400 } else { at + 4_000 };
        who = 1 - who;
    }
    let count = |marks: &[bool]| marks.iter().filter(|mark| **mark).count();
    let both = spoken[0].iter().zip(&spoken[1]).filter(|(one, other)| **one && **other).count();
    let counts = [count(&spoken[0]), count(&spoken[1])];
    (channels, counts, both)
}

/// The channel with so much of the other in it, and noise.
fn with_echo(own: &[f32], other: &[f32], loss_db: f32, delay: usize, seed: u64) -> Vec<f32> {
    let factor = 10.0_f32.powf(loss_db / -20.0);
    let echo = std::iter::repeat_n(&0.0, delay).chain(other);
    let noise = noise(own.len(), -62.0, seed);
    own.iter().zip(echo).zip(noise).map(|((own, echo), noise)| own + echo * factor + noise).collect()
}

#[test]
fn talk_over_is_found_through_echo() {
    let ([agent, caller], _, _) = conversation();
    let quiet = results_of(
        &[with_echo(&agent, &caller, 200.0, 0, 1), with_echo(&caller, &agent, 200.0, 0, 2)],
        Settings::default(),
    );
    assert_eq!(quiet.channels[0].leak_from_other, None);
    let plain = quiet.conversation.unwrap();
    for (loss, delay_ms) in [(30.0, 10), (20.0, 120), (12.0, 250)] {
        let own = with_echo(&agent, &caller, loss, delay_ms * 8, 1);
        let results = results_of(&[own, with_echo(&caller, &agent, 200.0, 0, 2)], Settings::default());
        let found = results.conversation.unwrap();
        show(&format!(
            "echo {loss} dB, {delay_ms} ms: talk-over {} (without echo {}), {:?}, share {:?} (without {:?})",
            found.talk_over_seconds,
            plain.talk_over_seconds,
            results.channels[0].leak_from_other,
            results.channels[0].talk_share,
            quiet.channels[0].talk_share
        ));
        let leak =
            results.channels[0].leak_from_other.unwrap_or_else(|| panic!("echo of {loss} dB is not found"));
        assert!((leak.loss_db - f64::from(loss)).abs() <= 3.0, "{leak:?}");
        assert!((leak.delay_seconds * 1_000.0 - delay_ms as f64).abs() <= 20.0, "{leak:?}");
        assert!((found.talk_over_seconds - plain.talk_over_seconds).abs() <= 1.5, "{loss}: {found:?}");
        let share = |results: &Results| results.channels[0].talk_share.unwrap();
        assert!((share(&results) - share(&quiet)).abs() <= 0.02, "{loss}");
        assert!(!results.flags.contains(&Flag::LeakFromOther));
    }
}

#[test]
fn shares_and_talk_over_are_those_that_were_made() {
    let ([agent, caller], spoken, both) = conversation();
    let results = results_of(
        &[with_echo(&agent, &caller, 200.0, 0, 1), with_echo(&caller, &agent, 200.0, 0, 2)],
        Settings::default(),
    );
    let made = spoken[0] as f64 / (spoken[0] + spoken[1]) as f64;
    let share = results.channels[0].talk_share.unwrap();
    assert!((share - made).abs() <= 0.03, "{share} of {made}");
    let (found, made) = (results.conversation.unwrap().talk_over_seconds, both as f64 / 8_000.0);
    assert!((found - made).abs() <= 1.5, "{found} of {made}");
    let swapped = results_of(&[caller, agent], Settings { agent: Side::Right, ..Settings::default() });
    let agents =
        |results: &Results| results.channels.iter().find(|c| c.role == Role::Agent).unwrap().speech_seconds;
    assert!((agents(&swapped) - agents(&results)).abs() < 1.0);
}

#[test]
fn the_same_sound_on_both_channels_is_no_conversation() {
    let ([agent, _], ..) = conversation();
    let results = results_of(&[agent.clone(), agent], Settings::default());
    assert_eq!(results.flags, [Flag::ChannelsIdentical]);
    assert!(
        results.conversation.is_none() && results.channels.iter().all(|channel| channel.role == Role::Mixed)
    );
}

#[test]
fn levels_are_those_that_were_made() {
    let said: Vec<f32> = prompts(12).concat();
    for noise_dbfs in [-62.0, -48.0] {
        let mut channel = vec![0.0; 40_000];
        channel.extend(&said);
        channel.extend([0.0; 40_000]);
        let channel = mixed_with(&channel, &noise(channel.len(), noise_dbfs, 9));
        let results = results_of(&[channel], Settings::default());
        let found = results.channels[0].noise_level_dbfs.unwrap();
        assert!((found - f64::from(noise_dbfs)).abs() <= 0.5, "{found} of {noise_dbfs}");
        let snr = results.channels[0].snr_db.unwrap();
        let level = results.channels[0].speech_level_dbfs.unwrap();
        assert!((level - found - snr).abs() < 0.11);
        assert_eq!(results.channels[0].clipped_share, Some(0.0));
    }
    let loud: Vec<f32> = said.iter().map(|sample| (sample * 30.0).clamp(-1.0, 1.0)).collect();
    let clipped = loud.iter().filter(|sample| sample.abs() == 1.0).count() as f64 / loud.len() as f64;
    let results = results_of(&[loud], Settings::default());
    let found = results.channels[0].clipped_share.unwrap();
    assert!(clipped > 0.005 && found >= clipped / 2.0 && found <= clipped * 1.1, "{found} of {clipped}");
    assert!(results.flags.contains(&Flag::Clipped));
}

#[test]
fn a_recording_that_is_not_the_whole_call_is_flagged() {
    let said: Vec<f32> = prompts(12).concat();
    let length = said.len() as f64 / 8_000.0;
    for (call_seconds, is_flagged) in
        [(length, false), (length + 14.0, false), (length * 2.0 + 20.0, true), (1.0, true)]
    {
        let settings = Settings { call_seconds: Some(call_seconds), ..Settings::default() };
        let results = results_of(std::slice::from_ref(&said), settings);
        assert_eq!(results.flags.contains(&Flag::DurationMismatch), is_flagged, "{call_seconds} of {length}");
    }
}
