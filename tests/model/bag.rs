//! How many there are of each kind of thing: rows of the outbox and messages in hand, whose order says nothing.

/// A kind that can be told by a number below a bound.
pub(crate) trait Kind: Copy + PartialEq + 'static {
    /// All kinds, each at the index of its number.
    const ALL: &'static [Self];

    fn number(self) -> usize;
}

/// Counts of `N` kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Bag<const N: usize>([u8; N]);

impl<const N: usize> Default for Bag<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Bag<N> {
    pub(crate) fn add(&mut self, kind: impl Kind, count: u8) {
        if let Some(counted) = self.0.get_mut(kind.number()) {
            *counted += count;
        }
    }

    pub(crate) fn count(&self, kind: impl Kind) -> u8 {
        self.0.get(kind.number()).copied().unwrap_or(0)
    }

    /// Takes out all of a kind.
    pub(crate) fn take(&mut self, kind: impl Kind) -> u8 {
        self.0.get_mut(kind.number()).map(std::mem::take).unwrap_or(0)
    }

    /// Makes one of a kind one of another, or takes it out.
    pub(crate) fn replace<K: Kind>(&mut self, one: K, by: Option<K>) {
        if let Some(counted) = self.0.get_mut(one.number()) {
            *counted -= 1;
        }
        if let Some(kind) = by {
            self.add(kind, 1);
        }
    }

    pub(crate) fn total(&self) -> u8 {
        self.0.iter().sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0 == [0; N]
    }

    /// Every kind that there is one of.
    pub(crate) fn kinds<K: Kind>(&self) -> impl Iterator<Item = K> {
        K::ALL.iter().copied().filter(|kind| self.count(*kind) > 0)
    }
}
