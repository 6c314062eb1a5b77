//! The analysis of a recording, as it goes from the child to the parent. The parent keeps what it can read as results of ours,
//! and writes them anew: no byte of the child's own text goes further.

use serde_json::value::{RawValue, to_raw_value};

use super::answer::{Answer, Judged, is_plain_text};
use crate::analysis::results::{BYTES_MAX, EVENTS_MAX, Results, SPEECH_MAX};

/// Reads an answer; `None` where no child of ours would give it.
pub(super) fn judge(json: &[u8]) -> Option<Judged<Box<RawValue>>> {
    let (is_worn, result) = Answer::<Results>::read(json)?;
    Some(match result {
        Ok(results) => (is_worn, Ok(written(&results)?)),
        Err(refusal) => (is_worn, Err(refusal)),
    })
}

/// The results as JSON, where they are within their bounds.
fn written(results: &Results) -> Option<Box<RawValue>> {
    let texts = [&results.analyzer, &results.audio.codec, &results.summary];
    let is_sane = texts.into_iter().all(|text| is_plain_text(text))
        && results.channels.len() <= 2
        && results.channels.iter().all(|channel| channel.speech.len() <= SPEECH_MAX)
        && results.events.len() <= EVENTS_MAX;
    to_raw_value(results).ok().filter(|json| is_sane && json.get().len() <= BYTES_MAX)
}
