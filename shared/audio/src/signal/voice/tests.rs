//! The network against ONNX Runtime; `tools/expected-probabilities.py` makes the fixture.

use super::*;
use crate::pcm::Pcm;

fn steps() -> Vec<[f32; STEP]> {
    let mut samples = Vec::new();
    Pcm::ALaw.decode(include_bytes!("tests/steps.al"), &mut samples);
    let samples: Vec<f32> = samples.iter().map(|sample| f32::from(*sample) / 32768.0).collect();
    samples.as_chunks().0.to_vec()
}

fn expected() -> Vec<f32> {
    include_str!("tests/probabilities.txt").lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn the_network_gives_what_onnx_runtime_gives() {
    let (steps, expected) = (steps(), expected());
    assert_eq!((steps.len(), expected.len()), (256, 256));
    assert!(expected.iter().any(|p| *p > 0.95) && expected.iter().any(|p| *p < 0.05));
    // However many steps come at a time.
    for batch in 1..=BATCH {
        let (mut voice, mut worst) = (Voice::new(), 0.0_f32);
        for (steps, expected) in steps.chunks(batch).zip(expected.chunks(batch)) {
            let probabilities = voice.hear(steps);
            for (found, expected) in probabilities.iter().zip(expected) {
                worst = worst.max((found - expected).abs());
            }
        }
        assert!(worst <= 0.005, "{batch} at a time: off by {worst}");
    }
}
