//! Plots as SVG: horizontal bars, one for each value, or stacked. They have plain shapes and text, which any viewer
//! shows.

use std::fmt::Write as _;

use super::format::number;
use crate::spread::Spread;

const WIDTH: f64 = 900.0;
/// The names end left of this.
const LEFT: f64 = 290.0;
/// The longest bar ends here; figures are right of the bars.
const RIGHT: f64 = 790.0;
const TOP: f64 = 64.0;
const BAR: f64 = 15.0;
const GAP: f64 = 9.0;
const LEGEND_STEP: f64 = 150.0;
/// Lines of the scale, roughly.
const LINES: f64 = 5.0;

/// Colours that colour-blind readers can tell apart (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#777777"];

/// Bars in groups: a group for each subject, with a bar for each case.
pub(super) struct Bars<'a> {
    pub(super) title: &'a str,
    /// The names of the bars in a group.
    pub(super) series: Vec<String>,
    /// The name, and a value for each series; a value that was not measured has no bar.
    pub(super) groups: Vec<(String, Vec<Option<Spread>>)>,
    /// Digits after the decimal point.
    pub(super) digits: usize,
}

/// Rows of one bar each, which is made of parts.
pub(super) struct Stacks<'a> {
    pub(super) title: &'a str,
    pub(super) parts: Vec<String>,
    pub(super) rows: Vec<(String, Vec<f64>)>,
    /// Digits after the decimal point.
    pub(super) digits: usize,
}

impl Bars<'_> {
    /// The drawing; `None` when there is nothing to draw.
    pub(super) fn svg(&self) -> Option<String> {
        let values = self.groups.iter().flat_map(|(_, values)| values.iter().flatten());
        let most = values.map(|spread| spread.max).max_by(f64::total_cmp)?;
        let bars = |values: &[Option<Spread>]| values.iter().flatten().count().max(1);
        let count: usize = self.groups.iter().map(|(_, values)| bars(values)).sum();
        let bottom = TOP + count as f64 * BAR + self.groups.len() as f64 * GAP;
        let mut drawing = Drawing::new(self.title, &self.series, bottom, most);
        let mut y = TOP;
        for (name, values) in &self.groups {
            let end = y + bars(values) as f64 * BAR;
            drawing.name(name, f64::midpoint(y, end));
            for (index, spread) in values.iter().enumerate() {
                if let Some(spread) = spread {
                    drawing.bar(0.0, spread.median, y, index);
                    drawing.range(spread, y);
                    drawing.figure(spread.max, &number(spread.median, self.digits), y);
                    y += BAR;
                }
            }
            // A group without any value keeps its line.
            y = end + GAP;
        }
        Some(drawing.end())
    }
}

impl Stacks<'_> {
    /// The drawing; `None` when there is nothing to draw.
    pub(super) fn svg(&self) -> Option<String> {
        let sums = self.rows.iter().map(|(_, values)| values.iter().sum::<f64>());
        let most = sums.max_by(f64::total_cmp)?;
        let bottom = TOP + self.rows.len() as f64 * (BAR + GAP);
        let mut drawing = Drawing::new(self.title, &self.parts, bottom, most);
        let mut y = TOP;
        for (name, values) in &self.rows {
            drawing.name(name, y + BAR / 2.0);
            let mut from = 0.0;
            for (index, value) in values.iter().enumerate() {
                drawing.bar(from, from + value, y, index);
                from += value;
            }
            drawing.figure(from, &number(from, self.digits), y);
            y += BAR + GAP;
        }
        Some(drawing.end())
    }
}

struct Drawing {
    text: String,
    /// Pixels of one unit.
    scale: f64,
}

impl Drawing {
    fn new(title: &str, legend: &[String], bottom: f64, most: f64) -> Self {
        let height = bottom + 28.0;
        let mut drawing = Self { text: String::new(), scale: (RIGHT - LEFT) / most.max(f64::MIN_POSITIVE) };
        drawing.add(&format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {WIDTH} {height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"12\" y=\"22\" font-size=\"15\" font-weight=\"bold\">{}</text>",
            escaped(title)
        ));
        for (index, name) in legend.iter().enumerate() {
            let x = 12.0 + index as f64 * LEGEND_STEP;
            drawing.add(&format!(
                "<rect x=\"{x:.0}\" y=\"36\" width=\"12\" height=\"12\" fill=\"{}\"/>\
                 <text x=\"{:.0}\" y=\"46\">{}</text>",
                colour(index),
                x + 17.0,
                escaped(name)
            ));
        }
        drawing.lines(bottom, most);
        drawing
    }

    fn lines(&mut self, bottom: f64, most: f64) {
        let step = step(most);
        let digits = if step < 1.0 { 2 } else { 0 };
        let mut value = 0.0;
        while value <= most {
            let x = LEFT + value * self.scale;
            self.add(&format!(
                "<line x1=\"{x:.1}\" y1=\"{:.0}\" x2=\"{x:.1}\" y2=\"{bottom:.0}\" stroke=\"#dddddd\"/>\
                 <text x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\" fill=\"#555555\">{}</text>",
                TOP - 6.0,
                bottom + 16.0,
                number(value, digits)
            ));
            value += step;
        }
    }

    fn name(&mut self, name: &str, middle: f64) {
        self.add(&format!(
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            middle + 4.0,
            escaped(name)
        ));
    }

    fn bar(&mut self, from: f64, to: f64, y: f64, index: usize) {
        self.add(&format!(
            "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
            LEFT + from * self.scale,
            ((to - from) * self.scale).max(0.5),
            BAR - 2.0,
            colour(index)
        ));
    }

    /// Draws a line from the smallest to the largest value of the rounds.
    fn range(&mut self, spread: &Spread, y: f64) {
        self.add(&format!(
            "<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"black\"/>",
            LEFT + spread.min * self.scale,
            LEFT + spread.max * self.scale,
            y + (BAR - 2.0) / 2.0,
            y + (BAR - 2.0) / 2.0
        ));
    }

    fn figure(&mut self, at: f64, figure: &str, y: f64) {
        let (x, y) = (LEFT + at * self.scale + 6.0, y + BAR - 4.0);
        self.add(&format!("<text x=\"{x:.1}\" y=\"{y:.1}\">{figure}</text>"));
    }

    fn add(&mut self, element: &str) {
        // Writing to a string cannot fail.
        writeln!(self.text, "{element}").unwrap_or_default();
    }

    fn end(mut self) -> String {
        self.add("</svg>");
        self.text
    }
}

/// The distance of two lines of the scale: 1, 2 or 5 times a power of ten.
fn step(most: f64) -> f64 {
    let rough = (most / LINES).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps.into_iter().find(|step| *step >= rough).unwrap_or(rough)
}

fn colour(index: usize) -> &'static str {
    COLOURS.get(index % COLOURS.len()).copied().unwrap_or("black")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_bar_and_its_figure() {
        let spread = |median| Some(Spread { median, min: median - 1.0, max: median + 1.0 });
        let bars = Bars {
            title: "calls < a second",
            series: vec!["64".to_owned(), "256".to_owned()],
            groups: vec![("naive & slow".to_owned(), vec![spread(1234.0), None])],
            digits: 0,
        };
        let svg = bars.svg().unwrap();
        assert!(
            svg.contains(">1,234</text>") && svg.contains("naive &amp; slow") && svg.contains("calls &lt; a")
        );
        assert_eq!(svg.matches("stroke=\"black\"").count(), 1);
        assert!(Bars { groups: Vec::new(), ..bars }.svg().is_none());
    }

    #[test]
    fn scales_have_round_steps() {
        assert_eq!(step(100.0), 20.0);
        assert_eq!(step(60_000.0), 20_000.0);
        assert_eq!(step(0.9), 0.2);
    }
}
