//! Stretches of time, in ticks of 10 ms, and what can be computed from sets of them.

/// Ticks a second.
pub(super) const TICKS: u32 = 100;

/// From a tick up to, and without, another. In a list they are in order, and neither touch nor overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Stretch {
    pub(super) const fn ticks(self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    pub(super) const fn overlap(self, other: Self) -> Self {
        let start = if self.start > other.start { self.start } else { other.start };
        let end = if self.end < other.end { self.end } else { other.end };
        Self { start, end: if end > start { end } else { start } }
    }
}

/// The stretches of a list of marks, one a tick.
pub(super) fn marked(marks: impl IntoIterator<Item = bool>) -> Vec<Stretch> {
    let mut found: Vec<Stretch> = Vec::new();
    let mut open = false;
    for (tick, mark) in (0_u32..).zip(marks) {
        match found.last_mut().filter(|_| open) {
            Some(last) if mark => last.end = tick + 1,
            None if mark => found.push(Stretch { start: tick, end: tick + 1 }),
            _ => {}
        }
        open = mark;
    }
    found
}

/// Joins stretches that are less than `gap` ticks apart, then drops those shorter than `least`.
pub(super) fn settled(stretches: &[Stretch], gap: u32, least: u32) -> Vec<Stretch> {
    let mut joined: Vec<Stretch> = Vec::with_capacity(stretches.len());
    for stretch in stretches {
        match joined.last_mut() {
            Some(last) if stretch.start < last.end.saturating_add(gap) => {
                last.end = last.end.max(stretch.end)
            }
            _ => joined.push(*stretch),
        }
    }
    joined.retain(|stretch| stretch.ticks() >= least);
    joined
}

/// Ticks of all of them.
pub(super) fn total(stretches: &[Stretch]) -> u32 {
    stretches.iter().map(|stretch| stretch.ticks()).sum()
}

/// Ticks that are in any of two lists.
pub(super) fn union(one: &[Stretch], other: &[Stretch]) -> Vec<Stretch> {
    let mut all = [one, other].concat();
    all.sort_unstable_by_key(|stretch| stretch.start);
    settled(&all, 1, 1)
}

/// Ticks that are in both lists.
pub(super) fn intersection(one: &[Stretch], other: &[Stretch]) -> Vec<Stretch> {
    let (mut left, mut right) = (one.iter().peekable(), other.iter().peekable());
    let mut found = Vec::new();
    while let (Some(&&a), Some(&&b)) = (left.peek(), right.peek()) {
        let both = a.overlap(b);
        if both.ticks() > 0 {
            found.push(both);
        }
        if a.end < b.end {
            left.next();
        } else {
            right.next();
        }
    }
    found
}

/// Ticks of `within` that are in none of the stretches.
pub(super) fn gaps(stretches: &[Stretch], within: Stretch) -> Vec<Stretch> {
    let mut found = Vec::new();
    let mut start = within.start;
    for stretch in stretches {
        let gap = within.overlap(Stretch { start, end: stretch.start });
        if gap.ticks() > 0 {
            found.push(gap);
        }
        start = start.max(stretch.end);
    }
    let rest = within.overlap(Stretch { start, end: u32::MAX });
    if rest.ticks() > 0 {
        found.push(rest);
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ticks(stretches: &[Stretch], length: usize) -> Vec<bool> {
        (0..u32::try_from(length).unwrap())
            .map(|tick| stretches.iter().any(|stretch| (stretch.start..stretch.end).contains(&tick)))
            .collect()
    }

    proptest! {
        #[test]
        fn sets_of_stretches_are_sets_of_ticks(
            one in prop::collection::vec(any::<bool>(), 60),
            other in prop::collection::vec(any::<bool>(), 60),
        ) {
            let (a, b) = (marked(one.iter().copied()), marked(other.iter().copied()));
            prop_assert_eq!(ticks(&a, 60), one.clone());
            let zip = |f: fn(bool, bool) -> bool| one.iter().zip(&other).map(|(a, b)| f(*a, *b)).collect::<Vec<_>>();
            prop_assert_eq!(union(&a, &b), marked(zip(|a, b| a || b)));
            prop_assert_eq!(ticks(&intersection(&a, &b), 60), zip(|a, b| a && b));
            let free: Vec<bool> = one.iter().enumerate().map(|(tick, a)| !a && (5..50).contains(&tick)).collect();
            prop_assert_eq!(gaps(&a, Stretch { start: 5, end: 50 }), marked(free));
            prop_assert_eq!(total(&a) as usize, one.iter().filter(|mark| **mark).count());
        }
    }

    #[test]
    fn short_gaps_are_bridged_and_short_stretches_dropped() {
        let marks = "..##..#......#...####".chars().map(|mark| mark == '#');
        let expected = [Stretch { start: 2, end: 7 }, Stretch { start: 17, end: 21 }];
        assert_eq!(settled(&marked(marks), 3, 2), expected);
    }
}
