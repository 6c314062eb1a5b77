//! The accuracy of all measures together, with the tolerances of docs/analysis.md: on the demo's recordings, whose turns its
//! script prints, on Debian's prompts and hold music, and on sounds that are made here.

use std::io::Write;
use std::path::{Path, PathBuf};

use callvine_domain::analysis::results::{EventKind, Flag, Results, Role};

use super::sounds::{noise, sixteen};
use super::*;
use crate::read;

mod conversations;
mod hostile;
mod recordings;

const PROMPTS: &str = "/usr/share/asterisk/sounds/en_US_f_Allison";
const MUSIC: &str = "/usr/share/asterisk/moh";

/// Shows a figure of docs/analysis.md.
fn show(figure: &str) {
    writeln!(std::io::stderr(), "{figure}").unwrap();
}

fn analysed(path: &Path, settings: &Settings) -> Results {
    let mut signal = Signal::new(settings.clone());
    let facts = read(path, &mut |shape, samples| signal.hear(shape, samples));
    let facts = facts.unwrap_or_else(|refusal| panic!("{}: {refusal}", path.display()));
    signal.finish(&facts)
}

/// The samples of a recording of one channel, from -1 to 1.
fn samples(path: &Path) -> Vec<f32> {
    let mut all = Vec::new();
    let heard = read(path, &mut |_, samples| all.extend(samples.iter().map(|s| f32::from(*s) / 32_768.0)));
    heard.unwrap_or_else(|refusal| {
        panic!(
            "{}: {refusal} (install asterisk-core-sounds-en-wav and asterisk-moh-opsound-wav)",
            path.display()
        )
    });
    all
}

/// Some prompts of half a second and more, in order of their names.
fn prompts(count: usize) -> Vec<Vec<f32>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(PROMPTS)
        .unwrap_or_else(|error| panic!("{PROMPTS}: {error} (install asterisk-core-sounds-en-wav)"))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wav"))
        .collect();
    paths.sort();
    let step = paths.len() / (count * 2);
    let all = paths.iter().step_by(step.max(1)).map(|path| samples(path));
    all.filter(|samples| (8_000..60_000).contains(&samples.len())).take(count).collect()
}

/// The results of channels of samples from -1 to 1, as plain samples of 8 kHz.
fn results_of(channels: &[Vec<f32>], settings: Settings) -> Results {
    let frames = channels.iter().map(Vec::len).max().unwrap_or(0);
    let channels: Vec<Vec<i16>> = channels.iter().map(|samples| sixteen(samples)).collect();
    let interleaved: Vec<i16> = (0..frames)
        .flat_map(|at| channels.iter().map(move |samples| samples.get(at).copied().unwrap_or_default()))
        .collect();
    let shape = Shape { channels: u16::try_from(channels.len()).unwrap(), sample_rate: 8_000 };
    heard(shape, &interleaved, settings)
}

fn heard(shape: Shape, samples: &[i16], settings: Settings) -> Results {
    let mut signal = Signal::new(settings);
    for block in samples.chunks(usize::from(shape.channels) * 1_111) {
        signal.hear(shape, block);
    }
    let frames = samples.len() as u64 / u64::from(shape.channels);
    signal.finish(&Facts {
        media_type: "audio/wav",
        codec: "pcm_s16le".into(),
        duration_seconds: seconds_of(frames, shape),
        shape,
        verification: callvine_domain::recording::Verification::Decoded,
        ending: crate::Ending::Told,
    })
}

fn seconds_of(frames: u64, shape: Shape) -> f64 {
    crate::seconds(frames, shape.sample_rate)
}

fn mixed_with(samples: &[f32], other: &[f32]) -> Vec<f32> {
    samples.iter().zip(other).map(|(one, other)| one + other).collect()
}
