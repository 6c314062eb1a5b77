//! From the network's probabilities to stretches of speech.

use super::activity::{SPEECH, Step};
use super::stretch::{Stretch, marked, settled};

/// Pauses shorter than this, in ticks, belong to the speech around them.
const BRIDGE: u32 = 20;

/// Speech shorter than this, in ticks, is a click.
const LEAST: u32 = 8;

/// For each tick whether it is speech.
pub(super) fn marks(steps: &[Step], ticks: usize) -> Vec<bool> {
    (0..ticks).map(|tick| steps.get(step_of(tick)).is_some_and(|step| step.speech >= SPEECH)).collect()
}

/// The step in which the middle of a tick is: steps are 3.2 ticks long.
pub(super) const fn step_of(tick: usize) -> usize {
    (tick * 10 + 5) / 32
}

/// The stretches of speech.
pub(super) fn stretches(marks: &[bool]) -> Vec<Stretch> {
    settled(&marked(marks.iter().copied()), BRIDGE, LEAST)
}
