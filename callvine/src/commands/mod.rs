//! The commands, one file each.

pub(crate) mod audit;
pub(crate) mod dead_letters;
pub(crate) mod demo;
pub(crate) mod keys;
pub(crate) mod migrate;
pub(crate) mod prove;
pub(crate) mod serve;
