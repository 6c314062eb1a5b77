//! Matroska and `WebM`, finished and as they are streamed.

use super::*;

const OPUS: &str = "-t 4 -c:a libopus";

#[test]
fn opus_in_webm_and_matroska_is_walked() {
    let workshop = Workshop::new();
    for (name, media_type, options) in [
        ("a.webm", "audio/webm", ""),
        ("b.webm", "audio/webm", " -live 1 -f webm"),
        ("c.webm", "audio/webm", " -frame_duration 60 -ac 2"),
        ("a.mka", "audio/x-matroska", ""),
        ("a.mkv", "audio/x-matroska", " -live 1"),
    ] {
        let path = workshop.make(name, &format!("ffmpeg -v error -i IN {OPUS}{options} OUT"));
        let facts = facts_of(&path).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        assert_eq!((facts.media_type, &*facts.codec), (media_type, "opus"), "{name}");
        assert_eq!(facts.shape.sample_rate, 48_000, "{name}");
        assert_eq!(facts.shape.channels, if options.contains("-ac 2") { 2 } else { 1 }, "{name}");
        assert!((facts.duration_seconds - 4.0).abs() <= 0.010, "{name}: {}", facts.duration_seconds);
        assert_eq!(facts.verification, Verification::HeaderOnly, "{name}");
        let is_live = options.contains("live");
        assert_eq!(facts.ending, if is_live { Ending::Open } else { Ending::Told }, "{name}");
    }
}

#[test]
fn a_pipe_leaves_the_sizes_open() {
    let workshop = Workshop::new();
    for format in ["webm", "matroska"] {
        let path = workshop.path(format);
        let from = format!("ffmpeg -v error -i {PROMPTS}/demo-congrats.wav {OPUS} -f {format} - | cat");
        run(&["sh".to_owned(), "-c".to_owned(), format!("{from} > {}", path.display())]);
        let facts = facts_of(&path).unwrap();
        assert_eq!(facts.ending, Ending::Open);
        assert!((facts.duration_seconds - 4.0).abs() <= 0.010, "{}", facts.duration_seconds);
    }
}

#[test]
fn other_codecs_in_matroska_are_decoded() {
    let workshop = Workshop::new();
    for (name, media_type, codec) in [
        ("a.webm", "audio/webm", "vorbis"),
        ("a.mka", "audio/x-matroska", "vorbis"),
        ("b.mka", "audio/x-matroska", "flac"),
        ("c.mka", "audio/x-matroska", "mp3"),
        ("d.mka", "audio/x-matroska", "aac"),
        ("e.mka", "audio/x-matroska", "pcm_s16le"),
        ("f.mka", "audio/x-matroska", "pcm_f32le"),
    ] {
        let encoder = codec.replace("mp3", "libmp3lame").replace("vorbis", "libvorbis");
        let path = workshop.make(name, &format!("ffmpeg -v error -i IN -c:a {encoder} OUT"));
        assert_read(&path, media_type, codec, Verification::Decoded);
    }
}

#[test]
fn matroska_that_ends_early_is_truncated_and_without_sound_it_is_none() {
    let workshop = Workshop::new();
    let whole = std::fs::read(workshop.make("a.webm", &format!("ffmpeg -v error -i IN {OPUS} OUT"))).unwrap();
    for share in [10, 3, 2] {
        let cut = &whole[..whole.len() - whole.len() / share];
        assert_refused(&workshop.write("cut.webm", cut), &Refusal::Truncated);
    }
    let video = "ffmpeg -v error -f lavfi -i testsrc=size=32x32:duration=1 -c:v mpeg4 OUT";
    assert_refused(&workshop.make("a.mkv", video), &Refusal::not_audio(""));
    let head = [0x1a, 0x45, 0xdf, 0xa3, 0x80];
    assert_refused(&workshop.write("b.mkv", &head), &Refusal::not_audio(""));
    assert_refused(&workshop.write("b.mkv", &[&head[..], &[0; 100]].concat()), &Refusal::not_audio(""));
    // A thousand tracks, each of no bytes.
    let tracks = [&head[..], &[0xae, 0x80].repeat(1000)].concat();
    assert_refused(&workshop.write("b.mkv", &tracks), &Refusal::not_audio(""));
}
