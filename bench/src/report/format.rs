//! Numbers and tables as text.

use crate::results::Sitting;
use crate::spread::{Figure, Spread};
use crate::subject::Subject;

/// Writes a number with separated thousands: `12,345.6`.
pub(super) fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, fraction) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let fraction = fraction.map_or_else(String::new, |fraction| format!(".{fraction}"));
    format!("{sign}{grouped}{fraction}")
}

/// Writes a case with separated thousands: `10,000,000 rows`.
pub(super) fn case(label: &str) -> String {
    let digits = label.find(|character: char| !character.is_ascii_digit()).unwrap_or(label.len());
    match (label.get(..digits).and_then(|digits| digits.parse().ok()), label.get(digits..)) {
        (Some(value), Some(rest)) => number(value, 0) + rest,
        _ => label.to_owned(),
    }
}

/// Writes the median, and the range of several rounds: `12,345 (12,000 to 13,000)`.
pub(super) fn spread(spread: Spread, digits: usize) -> String {
    let median = number(spread.median, digits);
    if spread.min < spread.max {
        format!("{median} ({} to {})", number(spread.min, digits), number(spread.max, digits))
    } else {
        median
    }
}

/// A column of a table of runs.
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) figure: Figure,
    pub(super) digits: usize,
    /// Whether the range of the rounds follows the median.
    pub(super) with_range: bool,
}

impl Column {
    /// A column with the median alone.
    pub(super) const fn median(title: &'static str, digits: usize, figure: Figure) -> Self {
        Self { title, figure, digits, with_range: false }
    }

    /// A column with the median and the range.
    pub(super) const fn range(title: &'static str, digits: usize, figure: Figure) -> Self {
        Self { title, figure, digits, with_range: true }
    }

    fn cell(&self, sitting: &Sitting, subject: Subject, case: &str) -> Option<String> {
        let found = sitting.spread(subject, case, self.figure)?;
        Some(if self.with_range { spread(found, self.digits) } else { number(found.median, self.digits) })
    }
}

/// Writes a row for each subject in each case that was measured.
pub(super) fn table(sitting: &Sitting, columns: &[Column]) -> String {
    table_of(sitting, &sitting.cases(), columns)
}

/// Writes the same for these cases alone.
pub(super) fn table_of(sitting: &Sitting, cases: &[&str], columns: &[Column]) -> String {
    let titles: Vec<&str> = columns.iter().map(|column| column.title).collect();
    let mut text = format!("|  |  | {} |\n", titles.join(" | "));
    text += &format!("|---|---|{}\n", "--:|".repeat(columns.len()));
    for label in cases.iter().copied() {
        for subject in Subject::ALL.into_iter().filter(|subject| sitting.has(*subject, label)) {
            let cells = columns.iter().map(|column| column.cell(sitting, subject, label).unwrap_or_default());
            let cells: Vec<String> = cells.collect();
            text += &format!("| {} | {} | {} |\n", case(label), subject.title(), cells.join(" | "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        for (value, digits, text) in
            [(0.0, 0, "0"), (999.4, 0, "999"), (1234.56, 1, "1,234.6"), (-1e6, 0, "-1,000,000")]
        {
            assert_eq!(number(value, digits), text);
        }
        assert_eq!(case("50000000 rows"), "50,000,000 rows");
        assert_eq!(case("alone"), "alone");
        assert_eq!(spread(Spread { median: 2.0, min: 1.0, max: 3.0 }, 0), "2 (1 to 3)");
    }
}
