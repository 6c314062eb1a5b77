//! One way to walk a table: page by page, each beginning after the last row of the one before.

/// A walk through a table by ids that only rise. One page is in memory at a time.
pub(crate) struct Pages<I> {
    /// The last row that was read.
    last: I,
}

impl<I: Copy> Pages<I> {
    /// A walk through the rows with an id above this one.
    pub(crate) fn after(id: I) -> Self {
        Self { last: id }
    }

    /// The id that the next page begins after.
    pub(crate) fn last(&self) -> I {
        self.last
    }

    /// Takes the page that was read after [`Pages::last`]; `None`: it is empty, and that was all.
    pub(crate) fn take<T>(&mut self, page: Vec<T>, id_of: impl FnOnce(&T) -> I) -> Option<Vec<T>> {
        self.last = id_of(page.last()?);
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read_once() {
        let rows = [1, 2, 5, 6, 9];
        let read = |after| rows.iter().copied().filter(|row| *row > after).take(2).collect::<Vec<i64>>();
        let mut pages = Pages::after(1);
        let mut seen = Vec::new();
        while let Some(page) = pages.take(read(pages.last()), |row| *row) {
            assert!(page.len() <= 2);
            seen.extend(page);
        }
        assert_eq!(seen, [2, 5, 6, 9]);
    }
}
