//! The work of an operator, without terminal or page: commands print the results, and a page can show the same.
//!
//! - [`audit`]: whether tables, queues and stored objects agree, and a repair of what can be repaired
//! - [`dead_letters`]: what was given up, and another attempt
//! - [`keys`]: API keys
//!
//! Results are values, or go to a function that the caller gives, one at a time: so memory is bounded whatever there is.
//! Errors name what failed and what to do; nothing here prints.

pub mod audit;
pub mod dead_letters;
pub mod keys;
mod pages;
mod requeue;

#[cfg(test)]
mod tests;
