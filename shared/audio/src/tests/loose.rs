//! Files without a mark of their own: bare MPEG audio, bare GSM, texts, and what is no audio.

use super::*;

fn bare_mp3(workshop: &Workshop) -> Vec<u8> {
    let command = "ffmpeg -v error -i IN -t 4 -write_xing 0 -id3v2_version 0 -ar 16000 -b:a 32k OUT";
    std::fs::read(workshop.make("bare.mp3", command)).unwrap()
}

/// An `ID3v2` tag of so many bytes of zeros.
fn tag(bytes: u8) -> Vec<u8> {
    [b"ID3\x04\0\0\0\0\0".to_vec(), vec![bytes], vec![0; usize::from(bytes)]].concat()
}

#[test]
fn mpeg_audio_may_begin_elsewhere() {
    let workshop = Workshop::new();
    let bare = bare_mp3(&workshop);
    let whole = facts_of(&workshop.write("a.mp3", &bare)).unwrap().duration_seconds;
    assert!((whole - 4.07).abs() < 0.05, "{whole}");
    // A frame has 144 bytes and 36 ms.
    assert_eq!(&bare[144..146], &bare[..2]);
    let junk: Vec<u8> = (0..100_u8).map(|byte| byte.wrapping_mul(7) | 1).collect();
    for (case, start) in [
        ("two tags", [tag(20), tag(100)].concat()),
        ("a tag with padding behind it", [tag(20), vec![0; 1000]].concat()),
        ("junk", junk.clone()),
        ("the sync of a frame in the junk", [junk, vec![0xff, 0xfb, 0x90, 0x64]].concat()),
        ("60,000 bytes of junk", vec![0x11; 60_000]),
    ] {
        let facts = facts_of(&workshop.write("a.mp3", &[start, bare.clone()].concat()));
        let facts = facts.unwrap_or_else(|refusal| panic!("{case}: {refusal}"));
        assert_eq!((facts.media_type, &*facts.codec), ("audio/mpeg", "mp3"), "{case}");
        assert_eq!(facts.verification, Verification::Decoded, "{case}");
        assert_eq!(facts.duration_seconds, whole, "{case}");
    }
    for cut in [1, 50, 143, 144 * 3 + 70] {
        let facts = facts_of(&workshop.write("a.mp3", &bare[cut..])).unwrap();
        let frames = cut.div_ceil(144);
        assert!((facts.duration_seconds - (whole - 0.036 * frames as f64)).abs() < 1e-6, "{cut}");
    }
}

#[test]
fn no_two_frames_in_a_row_are_no_mpeg_audio_and_a_tag_alone_is_empty() {
    let workshop = Workshop::new();
    let bare = bare_mp3(&workshop);
    let refused = |bytes: &[u8], refusal| assert_refused(&workshop.write("a.mp3", bytes), &refusal);
    refused(&bare[..144], Refusal::not_audio(""));
    refused(&[vec![0x11; 70_000], bare.clone()].concat(), Refusal::not_audio(""));
    let apart: Vec<u8> = bare.chunks(144).take(100).flat_map(|frame| [frame, &[0x11; 7]].concat()).collect();
    refused(&apart, Refusal::not_audio(""));
    refused(&tag(100), Refusal::Empty);
    refused(&[tag(100), tag(9)].concat(), Refusal::Empty);
    refused(&[tag(100), vec![0; 5000]].concat(), Refusal::Empty);
    refused(&[tag(100), b"TAG".to_vec(), vec![b' '; 125]].concat(), Refusal::Empty);
    refused(&[tag(100), b"words".to_vec()].concat(), Refusal::not_audio(""));
    refused(&tag(100)[..60], Refusal::Truncated);
}

#[test]
fn bare_aac_may_begin_elsewhere() {
    let workshop = Workshop::new();
    let bare = std::fs::read(workshop.make("a.aac", "ffmpeg -v error -i IN -t 4 OUT")).unwrap();
    let whole = facts_of(&workshop.write("a.aac", &bare)).unwrap().duration_seconds;
    for start in [tag(20), vec![0x11; 100], [tag(20), tag(20)].concat()] {
        let facts = facts_of(&workshop.write("a.aac", &[start, bare.clone()].concat())).unwrap();
        assert_eq!((&*facts.codec, facts.duration_seconds), ("aac", whole));
    }
}

#[test]
fn bare_gsm_is_walked_frame_by_frame() {
    let workshop = Workshop::new();
    let path = workshop.make("a.gsm", "sox IN OUT trim 0 4");
    assert_read(&path, "audio/gsm", "gsm", Verification::HeaderOnly);
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(whole.len(), 200 * 33);
    for (frames, seconds) in [(1, 0.02), (2, 0.04), (200, 4.0)] {
        let facts = facts_of(&workshop.write("b.gsm", &whole[..frames * 33])).unwrap();
        assert!((facts.duration_seconds - seconds).abs() < 1e-9);
    }
    assert_refused(&workshop.write("b.gsm", &whole[..1000]), &Refusal::Truncated);
    assert_refused(&workshop.write("b.gsm", &whole[..40]), &Refusal::not_audio(""));
    let mut broken = whole.clone();
    broken[33 * 100] = 0x11;
    assert_refused(&workshop.write("b.gsm", &broken), &Refusal::not_audio(""));
    broken[33] = 0x11;
    assert_refused(&workshop.write("b.gsm", &broken), &Refusal::not_audio(""));
}

#[test]
fn a_short_text_is_a_hosts_word_and_is_named() {
    let workshop = Workshop::new();
    let long = format!("<html>{}", "word ".repeat(100_000));
    for (bytes, name) in [
        (&b"<!DOCTYPE html><html><body>Sign in</body></html>"[..], "web page"),
        (b"\xef\xbb\xbf\n <html>", "web page"),
        (b" \n<html>please wait", "web page"),
        (b"<?xml version=\"1.0\"?><Error/>", "XML"),
        (b"{\"status\":\"processing\"}", "JSON"),
        (b"[]", "JSON"),
        (b"some words", "plain text"),
        ("Gespr\u{e4}ch wird verarbeitet".as_bytes(), "plain text"),
        (b"Gespr\xe4ch wird verarbeitet", "plain text"),
        ("\u{2026}".repeat(300).as_bytes(), "no audio format"),
    ] {
        let refusal = facts_of(&workshop.write("a.wav", bytes)).unwrap_err();
        assert!(refusal.to_string().contains(name), "{refusal}");
        assert_eq!(matches!(refusal, Refusal::Text(_)), name != "no audio format", "{refusal}");
    }
    assert_refused(&workshop.write("a.wav", long.as_bytes()), &Refusal::not_audio(""));
}

#[test]
fn what_is_no_audio_is_named() {
    let workshop = Workshop::new();
    let tar = workshop.path("a.tar");
    run(&["tar", "-cf", tar.to_str().unwrap(), "-C", PROMPTS, "agent-pass.wav"].map(str::to_owned));
    let transport = workshop.make("a.ts", "ffmpeg -v error -i IN -c:a mp2 -f mpegts OUT");
    let asf = workshop.make("a.wma", "ffmpeg -v error -i SHORT OUT");
    let read = |path: &Path| std::fs::read(path).unwrap();
    for (bytes, name) in [
        (&read(&tar)[..], "a tar archive"),
        (&read(&transport), "transport stream"),
        (&read(&asf), "Windows Media"),
        (b"#EXTM3U\n#EXT-X-VERSION:3\nhttp://a/b.ts\n", "M3U8"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF"),
        (b"PK\x03\x04\0\0", "a ZIP archive"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"\x89PNG\r\n\x1a\n", "an image"),
        (b"RIFF\x10\0\0\0AVI LIST", "no WAVE"),
        (b"#!AMR-NB\n\x04", "AMR"),
        (&[0; 10_000], "no audio format"),
    ] {
        let refusal = facts_of(&workshop.write("a.wav", bytes)).unwrap_err();
        assert!(matches!(refusal, Refusal::NotAudio(_)) && refusal.to_string().contains(name), "{refusal}");
    }
}
