//! Files with damaged bytes.

use std::fs::File;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// Small files to be mangled: first those that only this crate reads, then those that symphonia decodes.
static OWN: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    small_files(&[
        ("a.wav", "sox IN OUT trim 0 0.2"),
        ("b.wav", "sox -M IN SHORT -e a-law OUT trim 0 0.2"),
        ("c.wav", "sox IN -b 24 OUT trim 0 0.2"),
        ("d.wav", "sox IN -e gsm-full-rate OUT trim 0 0.2"),
        ("a.opus", "ffmpeg -v error -i IN -t 0.2 OUT"),
        ("a.spx", "ffmpeg -v error -i IN -t 0.2 -c:a libspeex OUT"),
        ("a.amr-nb", "sox IN OUT trim 0 0.2"),
        ("a.au", "sox IN -e mu-law OUT trim 0 0.2"),
        ("a.gsm", "sox IN OUT trim 0 0.2"),
        ("a.aiff", "sox IN OUT trim 0 0.2"),
        ("b.aifc", "ffmpeg -v error -i IN -t 0.2 -c:a adpcm_ima_qt -f aiff OUT"),
        ("a.webm", "ffmpeg -v error -i IN -t 0.2 -c:a libopus OUT"),
        ("a.mov", "ffmpeg -v error -i IN -t 0.2 -c:a pcm_alaw OUT"),
    ])
});
static FOREIGN: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    small_files(&[
        ("a.wav", "sox IN -e ima-adpcm OUT trim 0 0.2"),
        ("b.wav", "sox -M IN SHORT -e ms-adpcm OUT trim 0 0.2"),
        ("a.mp3", "sox IN OUT trim 0 0.4"),
        ("b.mp3", "ffmpeg -v error -i IN -t 0.4 OUT"),
        ("a.aac", "ffmpeg -v error -i IN -t 0.4 OUT"),
        ("a.ogg", "sox IN OUT trim 0 0.2"),
        ("a.oga", "ffmpeg -v error -i IN -t 0.2 -c:a flac OUT"),
        ("a.mka", "ffmpeg -v error -i IN -t 0.2 -c:a libvorbis OUT"),
        ("a.flac", "sox IN OUT trim 0 0.2"),
        ("a.m4a", "ffmpeg -v error -i IN -t 0.4 OUT"),
        ("b.m4a", "ffmpeg -v error -i IN -t 0.4 -movflags frag_keyframe+empty_moov OUT"),
    ])
});

fn small_files(commands: &[(&str, &str)]) -> Vec<Vec<u8>> {
    let workshop = Workshop::new();
    commands.iter().map(|(name, command)| std::fs::read(workshop.make(name, command)).unwrap()).collect()
}

/// Changes to the bytes of a file: some anywhere, some near its start, and perhaps its end cut off.
#[derive(Clone, Debug)]
struct Mangling {
    anywhere: Vec<(prop::sample::Index, u8)>,
    start: Vec<(usize, u8)>,
    cut: Option<prop::sample::Index>,
}

fn mangling() -> impl Strategy<Value = Mangling> {
    let anywhere = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    let start = prop::collection::vec((0_usize..64, any::<u8>()), 0..4);
    let cut = prop::option::of(any::<prop::sample::Index>());
    (anywhere, start, cut).prop_map(|(anywhere, start, cut)| Mangling { anywhere, start, cut })
}

impl Mangling {
    fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        let mut mangled = bytes.to_vec();
        for (index, byte) in &self.anywhere {
            mangled[index.index(bytes.len())] = *byte;
        }
        for (index, byte) in &self.start {
            mangled[*index] = *byte;
        }
        if let Some(cut) = self.cut {
            mangled.truncate(cut.index(bytes.len()));
        }
        mangled
    }
}

fn assert_sane(outcome: Result<Facts, Refusal>) {
    if let Ok(facts) = outcome {
        assert!(facts.duration_seconds > 0.0 && facts.duration_seconds.is_finite(), "{facts:?}");
        assert!(facts.shape.channels > 0 && facts.shape.sample_rate > 0, "{facts:?}");
    }
}

proptest! {
    // A failing case is put into a test of its own.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mangled_files_are_walked_without_a_panic(seed in any::<prop::sample::Index>(), mangling in mangling()) {
        let workshop = Workshop::new();
        let path = workshop.write("a", &mangling.apply(&OWN[seed.index(OWN.len())]));
        assert_sane(read_input(&mut Input::new(File::open(&path).unwrap()).unwrap(), &mut |_, _| {}));
    }

    #[test]
    fn mangled_files_may_break_their_decoder_and_nothing_else(
        seed in any::<prop::sample::Index>(),
        mangling in mangling(),
    ) {
        let workshop = Workshop::new();
        let path = workshop.write("a", &mangling.apply(&FOREIGN[seed.index(FOREIGN.len())]));
        assert_sane(facts_of(&path));
    }
}
