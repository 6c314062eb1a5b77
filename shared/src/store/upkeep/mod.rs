//! Chores across tables, a file each: an audit's reading and its repairs, idle and lost recordings, clocks that were set back, dead
//! letters.

pub(super) mod audit;
pub(super) mod clocks;
pub(super) mod dead_letters;
pub(super) mod idle;
pub(super) mod lost;
mod repair;
