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

    /// The next page, which `read` fetches given the id that it begins after; `None`: that was all.
    pub(crate) async fn next<T, E, F: Future<Output = Result<Vec<T>, E>>>(
        &mut self,
        read: impl FnOnce(I) -> F,
        id_of: impl FnOnce(&T) -> I,
    ) -> Result<Option<Vec<T>>, E> {
        let page = read(self.last).await?;
        let Some(end) = page.last() else { return Ok(None) };
        self.last = id_of(end);
        Ok(Some(page))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[tokio::test]
    async fn every_row_is_read_once() {
        let rows: Vec<i64> = vec![1, 2, 5, 6, 9];
        let read = async |after: i64| {
            let page = rows.iter().copied().filter(|row| *row > after).take(2).collect();
            Ok::<Vec<i64>, Infallible>(page)
        };
        let mut pages = Pages::after(1);
        let mut seen = Vec::new();
        while let Ok(Some(page)) = pages.next(&read, |row| *row).await {
            assert!(page.len() <= 2);
            seen.extend(page);
        }
        assert_eq!(seen, [2, 5, 6, 9]);
    }
}
