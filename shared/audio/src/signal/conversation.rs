//! A conversation, as the stretches of speech of its two people tell it.

use super::stretch::{Stretch, gaps, intersection, settled, total, union};

/// Own pauses shorter than this, in ticks, don't end a turn.
const PAUSE: u32 = 200;

/// Longest stretch, in ticks, that counts as a backchannel: "yes", "I see".
const BACKCHANNEL_MAX: u32 = 100;

/// Shortest talk-over, in ticks.
const TALK_OVER_MIN: u32 = 30;

/// Both must speak for longer than this, in ticks, where one interrupts the other.
const INTERRUPTION: u32 = 50;

/// Shortest dead air, in ticks.
pub(super) const DEAD_AIR_MIN: u32 = 500;

/// The part of one of the two.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Part {
    pub(super) turns: u32,
    pub(super) longest_turn: u32,
    /// From its beginning to the end of the other's speech.
    pub(super) interruptions: Vec<Stretch>,
    pub(super) backchannels: u32,
    pub(super) response_median: Option<u32>,
}

/// The conversation of both. All times in ticks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Talk {
    pub(super) parts: [Part; 2],
    /// The speech of both, added up.
    pub(super) speech: u32,
    /// From the first speech to the last.
    pub(super) span: Option<Stretch>,
    pub(super) talk_overs: Vec<Stretch>,
    pub(super) silence: u32,
    pub(super) longest_silence: u32,
    pub(super) dead_airs: Vec<Stretch>,
    pub(super) turn_changes: u32,
}

/// A time for which one of the two has the floor.
#[derive(Clone, Copy)]
struct Turn {
    who: usize,
    stretch: Stretch,
}

/// Looks at the speech of both. `sounds` is music and tones of either channel.
pub(super) fn talk(speech: [&[Stretch]; 2], sounds: &[Stretch]) -> Talk {
    let [one, other] = speech;
    let turns = turns(speech);
    let heard = union(one, other);
    let span = span(&heard);
    let silences = span.map(|span| gaps(&heard, span)).unwrap_or_default();
    let part = |who: usize, own: &[Stretch], others: &[Stretch]| Part {
        turns: count(turns.iter().filter(|turn| turn.who == who).count()),
        longest_turn: longest(turns.iter().filter(|turn| turn.who == who).map(|turn| turn.stretch)),
        interruptions: interruptions(own, others),
        backchannels: count(own.iter().filter(|stretch| is_backchannel(**stretch, others)).count()),
        response_median: median(responses(&turns, who)),
    };
    Talk {
        parts: [part(0, one, other), part(1, other, one)],
        speech: total(one) + total(other),
        span,
        talk_overs: settled(&intersection(one, other), 0, TALK_OVER_MIN),
        silence: total(&silences),
        longest_silence: longest(silences.iter().copied()),
        dead_airs: dead_airs(&heard, sounds),
        turn_changes: count(turns.windows(2).filter(|pair| is_change(pair)).count()),
    }
}

/// Stretches between the first speech and the last in which there is neither speech nor any of the sounds.
pub(super) fn dead_airs(heard: &[Stretch], sounds: &[Stretch]) -> Vec<Stretch> {
    let Some(span) = span(heard) else { return Vec::new() };
    let mut airs = gaps(&union(heard, sounds), span);
    airs.retain(|air| air.ticks() >= DEAD_AIR_MIN);
    airs
}

fn span(heard: &[Stretch]) -> Option<Stretch> {
    Some(Stretch { start: heard.first()?.start, end: heard.last()?.end })
}

fn turns(speech: [&[Stretch]; 2]) -> Vec<Turn> {
    let [one, other] = speech;
    let of = |who: usize, own: &[Stretch], others: &[Stretch]| -> Vec<Turn> {
        let kept = own.iter().filter(|stretch| !is_backchannel(**stretch, others));
        kept.map(|stretch| Turn { who, stretch: *stretch }).collect()
    };
    let mut all = [of(0, one, other), of(1, other, one)].concat();
    all.sort_by_key(|turn| (turn.stretch.start, turn.stretch.end));
    let mut turns: Vec<Turn> = Vec::new();
    for turn in all {
        match turns.last_mut() {
            Some(last) if last.who == turn.who && turn.stretch.start < last.stretch.end + PAUSE => {
                last.stretch.end = turn.stretch.end;
            }
            _ => turns.push(turn),
        }
    }
    turns
}

/// Whether it is short, and lies within one of the other's stretches, without being the whole of it.
fn is_backchannel(stretch: Stretch, others: &[Stretch]) -> bool {
    stretch.ticks() <= BACKCHANNEL_MAX
        && at(others, stretch.start).is_some_and(|other| stretch.end <= other.end && stretch != other)
}

/// The stretch that a tick is in.
fn at(stretches: &[Stretch], tick: u32) -> Option<Stretch> {
    let behind = stretches.partition_point(|stretch| stretch.start <= tick);
    stretches.get(behind.checked_sub(1)?).copied().filter(|stretch| tick < stretch.end)
}

fn interruptions(own: &[Stretch], others: &[Stretch]) -> Vec<Stretch> {
    let interrupted = |stretch: &Stretch| {
        let other = at(others, stretch.start).filter(|other| other.start < stretch.start)?;
        let goes_on = stretch.end > other.end && other.end - stretch.start > INTERRUPTION;
        goes_on.then_some(Stretch { start: stretch.start, end: other.end })
    };
    own.iter().filter_map(interrupted).collect()
}

fn is_change(pair: &[Turn]) -> bool {
    matches!(pair, [one, other] if one.who != other.who)
}

/// How long it took `who` to answer, where the other was done.
fn responses(turns: &[Turn], who: usize) -> Vec<u32> {
    let change = |pair: &[Turn]| match pair {
        [one, other] if is_change(pair) && other.who == who => {
            other.stretch.start.checked_sub(one.stretch.end)
        }
        _ => None,
    };
    turns.windows(2).filter_map(change).collect()
}

fn median(mut ticks: Vec<u32>) -> Option<u32> {
    ticks.sort_unstable();
    ticks.get(ticks.len().checked_sub(1)? / 2).copied()
}

fn longest(stretches: impl Iterator<Item = Stretch>) -> u32 {
    stretches.map(Stretch::ticks).max().unwrap_or_default()
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::signal::stretch::marked;

    /// Letters are tenths of a second.
    fn stretches(text: &str) -> Vec<Stretch> {
        marked(text.chars().flat_map(|letter| [letter == '#'; 10]))
    }

    #[test]
    fn a_conversation_is_told_as_people_would_tell_it() {
        //               0         1         2         3         4         5         6         7         8
        let agent =
            stretches("###########.####..............................................########........");
        let caller =
            stretches("...##............######.####......................................#######....##");
        let talk = talk([&agent, &caller], &[]);
        assert_eq!(talk.span, Some(Stretch { start: 0, end: 790 }));
        // The caller's first words are a backchannel, and the short pauses belong to the turns.
        assert_eq!((talk.parts[0].turns, talk.parts[1].turns), (2, 2));
        assert_eq!((talk.parts[0].longest_turn, talk.parts[1].longest_turn), (160, 130));
        assert_eq!((talk.parts[0].backchannels, talk.parts[1].backchannels), (0, 1));
        assert_eq!(talk.parts[1].interruptions, []);
        assert_eq!(talk.talk_overs.len(), 1, "two tenths are too short");
        assert_eq!(talk.parts[1].response_median, Some(10));
        assert_eq!((talk.silence, talk.longest_silence), (10 + 10 + 10 + 340 + 40, 340));
        assert_eq!((talk.dead_airs.len(), talk.turn_changes), (0, 3));
    }

    #[test]
    fn who_begins_before_the_other_is_done_and_goes_on_interrupts() {
        let agent = stretches("####################....");
        for (caller, interruptions, backchannels) in [
            ("............############", 1, 0),
            ("...............#########", 0, 0),
            ("............######......", 0, 1),
            ("..###########...........", 0, 0),
            ("########################", 0, 0),
        ] {
            let talk = talk([&agent, &stretches(caller)], &[]);
            let part = &talk.parts[1];
            assert_eq!(
                (part.interruptions.len(), part.backchannels),
                (interruptions, backchannels),
                "{caller}"
            );
        }
    }

    #[test]
    fn silence_is_dead_air_from_five_seconds_on_unless_something_sounds() {
        let one = [
            Stretch { start: 0, end: 100 },
            Stretch { start: 600, end: 700 },
            Stretch { start: 1199, end: 1300 },
        ];
        assert_eq!(dead_airs(&one, &[]), [Stretch { start: 100, end: 600 }]);
        assert_eq!(dead_airs(&one, &[Stretch { start: 590, end: 600 }]), []);
        assert_eq!(dead_airs(&[], &[]), []);
        assert_eq!(talk([&[], &[]], &[]), Talk::default());
    }

    proptest! {
        /// Every time is what counting ticks gives.
        #[test]
        fn figures_are_those_of_a_count(runs in prop::collection::vec((0_usize..4, 1_usize..260), 1..40)) {
            let ticks: Vec<usize> = runs.iter().flat_map(|(state, length)| vec![*state; *length]).collect();
            let one: Vec<bool> = ticks.iter().map(|state| state & 1 == 1).collect();
            let other: Vec<bool> = ticks.iter().map(|state| state & 2 == 2).collect();
            let (a, b) = (marked(one.iter().copied()), marked(other.iter().copied()));
            let talk = talk([&a, &b], &[]);
            let first = ticks.iter().position(|state| *state > 0);
            let last = ticks.iter().rposition(|state| *state > 0);
            let inside = first.zip(last).map_or(&ticks[..0], |(first, last)| &ticks[first..=last]);
            prop_assert_eq!(talk.span.map_or(0, Stretch::ticks) as usize, inside.len());
            prop_assert_eq!(talk.silence as usize, inside.iter().filter(|state| **state == 0).count());
            let runs = |wanted: fn(usize) -> bool| {
                inside.chunk_by(move |x, y| wanted(*x) == wanted(*y)).filter(move |run| wanted(run[0])).map(<[usize]>::len)
            };
            prop_assert_eq!(talk.longest_silence as usize, runs(|state| state == 0).max().unwrap_or(0));
            let over: Vec<usize> = runs(|state| state == 3).filter(|length| *length >= 30).collect();
            prop_assert_eq!(talk.talk_overs.iter().map(|run| run.ticks() as usize).collect::<Vec<_>>(), over);
            let dead: Vec<usize> = runs(|state| state == 0).filter(|length| *length >= 500).collect();
            prop_assert_eq!(talk.dead_airs.iter().map(|run| run.ticks() as usize).collect::<Vec<_>>(), dead);
            for (part, (own, others)) in talk.parts.iter().zip([(&a, &b), (&b, &a)]) {
                let within = |own: &Stretch| others.iter().any(|o| o.start <= own.start && own.end <= o.end && o != own);
                let short = own.iter().filter(|own| own.ticks() <= 100 && within(own)).count();
                prop_assert_eq!(part.backchannels as usize, short);
                let interrupts = |own: &Stretch| others.iter().any(|o| {
                    o.start < own.start && own.start + 50 < o.end && own.end > o.end
                });
                prop_assert_eq!(part.interruptions.len(), own.iter().filter(|own| interrupts(own)).count());
            }
        }
    }
}
