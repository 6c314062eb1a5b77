//! The echo of one channel in the other, found in their levels alone, so that any codec may be between them.

use super::level::Levels;
use super::stretch::TICKS;

/// Longest delay of an echo, in ticks.
const DELAY_MAX: usize = 50;

/// How much less loud an echo must be, in dB. Anything nearer is somebody who speaks.
const LOSS_MIN_DB: f32 = 6.0;

/// Least correlation of the levels.
const CORRELATION_MIN: f64 = 0.6;

/// Fewest ticks that show an echo: 2 s.
const SEEN_MIN: usize = 2 * TICKS as usize;

/// How far above the expected echo a tick may be and still be one, in dB.
const MARGIN_DB: f32 = 9.0;

/// The levels up to so many ticks before and after count for a tick.
const REACH: usize = 5;

/// How far below the other, and below its own usual level, a channel is that only carries the other's sound.
const FAINT_DB: f32 = 12.0;

/// Channels are one and the same where their levels correlate so well, and differ by less than this, in dB.
const IDENTICAL_CORRELATION: f64 = 0.95;
const IDENTICAL_DB: f64 = 3.0;

/// One channel, as far as echo depends on it.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) levels: &'a Levels,
    /// Whether each tick is speech.
    pub(super) marks: &'a [bool],
}

/// An echo.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Echo {
    pub(super) delay_ticks: usize,
    pub(super) loss_db: f32,
}

/// Sums of pairs of numbers, for their correlation.
#[derive(Clone, Copy, Default)]
struct Sums {
    count: usize,
    x: f64,
    y: f64,
    xx: f64,
    yy: f64,
    xy: f64,
}

impl Sums {
    fn add(&mut self, x: f32, y: f32) {
        let (x, y) = (f64::from(x), f64::from(y));
        self.count += 1;
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.yy += y * y;
        self.xy += x * y;
    }

    /// From -1 to 1; 0 where one of the two never changes.
    #[expect(clippy::cast_precision_loss, reason = "2^53 ticks are centuries")]
    fn correlation(&self) -> f64 {
        let n = self.count as f64;
        let spread = (n * self.xx - self.x * self.x) * (n * self.yy - self.y * self.y);
        if spread > 1e-6 { (n * self.xy - self.x * self.y) / spread.sqrt() } else { 0.0 }
    }

    #[expect(clippy::cast_precision_loss, reason = "2^53 ticks are centuries")]
    fn difference(&self) -> f64 {
        (self.x - self.y) / self.count.max(1) as f64
    }
}

/// The echo of `from` in `into`.
pub(super) fn find(from: Side<'_>, into: Side<'_>) -> Option<Echo> {
    let mut lags = vec![Sums::default(); DELAY_MAX + 1];
    for tick in speaking(from) {
        let level = from.levels.at(tick);
        for (delay, sums) in lags.iter_mut().enumerate() {
            let other = into.levels.at(tick + delay);
            if other < level - LOSS_MIN_DB && tick + delay < into.levels.ticks() {
                sums.add(level, other);
            }
        }
    }
    let seen = lags.iter().enumerate().filter(|(_, sums)| sums.count >= SEEN_MIN);
    let best = seen.max_by(|one, other| one.1.correlation().total_cmp(&other.1.correlation()));
    let (delay_ticks, _) = best.filter(|(_, sums)| sums.correlation() > CORRELATION_MIN)?;
    let mut losses = [0_usize; 101];
    for tick in speaking(from) {
        let (level, other) = (from.levels.at(tick), into.levels.at(tick + delay_ticks));
        let is_less = other < level - LOSS_MIN_DB;
        if let Some(count) = losses.get_mut(whole(level - other)).filter(|_| is_less) {
            *count += 1;
        }
    }
    let half = losses.iter().sum::<usize>().div_ceil(2);
    let mut sum = 0;
    let median = (0_u8..).zip(losses).find(|(_, count)| {
        sum += count;
        sum >= half
    });
    let loss_db = f32::from(median?.0);
    (loss_db > LOSS_MIN_DB).then_some(Echo { delay_ticks, loss_db })
}

fn speaking(side: Side<'_>) -> impl Iterator<Item = usize> {
    side.marks.iter().enumerate().filter_map(|(tick, mark)| mark.then_some(tick))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
fn whole(decibels: f32) -> usize {
    decibels.round() as usize
}

/// The ticks in which `into` itself speaks: its speech without what it only carries of `from`. `usual_dbfs` is how loud it
/// speaks else.
pub(super) fn removed(from: Side<'_>, into: Side<'_>, echo: Option<Echo>, usual_dbfs: f32) -> Vec<bool> {
    let is_echo = |tick: usize| {
        let level = into.levels.loudest(tick, REACH);
        let expected = echo.and_then(|echo| {
            let source = tick.checked_sub(echo.delay_ticks)?;
            Some(from.levels.loudest(source, REACH) - echo.loss_db + MARGIN_DB)
        });
        let is_faint = from.marks.get(tick).copied().unwrap_or_default()
            && level < from.levels.loudest(tick, REACH) - FAINT_DB
            && level < usual_dbfs - FAINT_DB;
        is_faint || expected.is_some_and(|expected| level < expected)
    };
    into.marks.iter().enumerate().map(|(tick, mark)| *mark && !is_echo(tick)).collect()
}

/// Whether both channels carry the same.
pub(super) fn are_identical(one: Side<'_>, other: Side<'_>) -> bool {
    let mut sums = Sums::default();
    for tick in speaking(one) {
        sums.add(one.levels.at(tick), other.levels.at(tick));
    }
    sums.count >= SEEN_MIN
        && sums.correlation() > IDENTICAL_CORRELATION
        && sums.difference().abs() < IDENTICAL_DB
}
