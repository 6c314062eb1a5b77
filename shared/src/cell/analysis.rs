//! The analysis of a recording, as it goes from the child to the parent. The parent keeps what it can read as results of ours,
//! and writes them anew: no byte of the child's own text goes further.

use serde_json::value::RawValue;

use super::answer::{Answer, Judged};

/// Reads an answer; `None` where no child of ours would give it.
pub(super) fn judge(json: &[u8]) -> Option<Judged<Box<RawValue>>> {
    let (is_worn, result) = Answer::<serde_json::Value>::read(json)?;
    Some(match result {
        Ok(results) => (is_worn, Ok(serde_json::value::to_raw_value(&results).ok()?)),
        Err(refusal) => (is_worn, Err(refusal)),
    })
}
