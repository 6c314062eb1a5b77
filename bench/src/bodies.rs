//! The calls that are posted: 256 different ones of one size.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Number of calls, large enough that a cache of single values does not help.
const COUNT: u32 = 256;

/// The size of a usual call, in bytes.
pub(crate) const USUAL_BYTES: usize = 308;

/// Most characters by which a longer call's recording URL grows, as signed URLs do; the API's bound is 8,192
/// characters. A call that is longer still has a field of the provider's own, which the program ignores.
const URL_PADDING_MAX_CHARS: usize = 1700;

/// The origin of recordings that are never fetched: a closed port.
const NOWHERE: &str = "http://127.0.0.1:9";

/// Bytes of that field without its value.
const FIELD_BYTES: usize = r#","transcript":"""#.len();

/// Calls as JSON, each of the same size.
#[derive(Debug)]
pub(crate) struct Bodies {
    /// The file with one call a line, for load generators that read files.
    pub(crate) file: PathBuf,
    pub(crate) lines: Vec<String>,
}

impl Bodies {
    /// Makes calls of this size, or of the usual size if that is larger, and writes them to a file in the directory.
    pub(crate) fn write(size_bytes: usize, directory: &Path) -> anyhow::Result<Self> {
        let lines: Vec<String> = (0..COUNT).map(|number| body(number, size_bytes)).collect();
        let file = directory.join(format!("calls-{size_bytes}.jsonl"));
        fs::write(&file, lines.join("\n") + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Self { file, lines })
    }

    /// Makes calls whose recordings are at this origin.
    pub(crate) fn of_recordings(origin: &str, directory: &Path) -> anyhow::Result<Self> {
        let mut bodies = Self::write(USUAL_BYTES, directory)?;
        for line in &mut bodies.lines {
            *line = line.replace(NOWHERE, origin);
        }
        Ok(bodies)
    }
}

fn body(number: u32, size_bytes: usize) -> String {
    let missing = size_bytes.saturating_sub(padded(number, 0, None).len());
    let url_chars = missing.min(URL_PADDING_MAX_CHARS);
    let rest = missing - url_chars;
    let transcript = (rest >= FIELD_BYTES).then(|| filler(rest - FIELD_BYTES));
    padded(number, url_chars, transcript.as_deref())
}

fn padded(number: u32, url_chars: usize, transcript: Option<&str>) -> String {
    let mut json = format!(
        r#"{{"from_phone":"+1908727{:04}","to_phone":"+1800600{:04}","handled_by":"Agent Smith {:03}","department":"Customer Service","start_time":"2024-01-15 09:{:02}:00","end_time":"2024-01-15 10:{:02}:30","recording_url":"{NOWHERE}/recordings/{number:06}.wav?signature={}""#,
        (number * 37) % 10_000,
        (number * 91) % 10_000,
        number,
        number % 60,
        number % 60,
        filler(url_chars),
    );
    if let Some(transcript) = transcript {
        // Writing to a string cannot fail.
        write!(json, r#","transcript":"{transcript}""#).unwrap_or_default();
    }
    json.push('}');
    json
}

fn filler(chars: usize) -> String {
    "0123456789abcdef".chars().cycle().take(chars).collect()
}

#[cfg(test)]
mod tests {
    use callvine_domain::call::NewCall;

    use super::*;

    #[test]
    fn bodies_are_valid_calls_of_the_size_asked_for() {
        for size in [USUAL_BYTES, 1024, 10 * 1024] {
            for number in [0, 1, 255] {
                let body = body(number, size);
                assert_eq!(body.len(), size);
                NewCall::parse(body.as_bytes()).unwrap();
            }
        }
    }
}
