//! Ogg as writers and joiners leave it: positions that begin anywhere, several streams, streams beside the sound.

use super::*;

fn opus(workshop: &Workshop) -> Vec<u8> {
    std::fs::read(workshop.make("a.opus", "ffmpeg -v error -i IN -t 4 OUT")).unwrap()
}

fn vorbis(workshop: &Workshop) -> Vec<u8> {
    std::fs::read(workshop.make("a.ogg", "ffmpeg -v error -i IN -t 4 -c:a libvorbis OUT")).unwrap()
}

/// The pages of a file.
fn pages(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut pages = Vec::new();
    while !bytes.is_empty() {
        let segments = usize::from(bytes[26]);
        let body: usize = bytes[27..27 + segments].iter().map(|size| usize::from(*size)).sum();
        let (page, rest) = bytes.split_at(27 + segments + body);
        pages.push(page.to_vec());
        bytes = rest;
    }
    pages
}

/// Writes the checksum of a page (RFC 3533, 6).
fn seal(page: &mut [u8]) {
    page[22..26].fill(0);
    let mut sum = 0_u32;
    for byte in &*page {
        sum ^= u32::from(*byte) << 24;
        for _ in 0..8 {
            sum = if sum >> 31 == 1 { sum << 1 ^ 0x04c1_1db7 } else { sum << 1 };
        }
    }
    page[22..26].copy_from_slice(&sum.to_le_bytes());
}

/// The file with each position of a page of sound changed.
fn with_positions(bytes: &[u8], change: impl Fn(u64) -> u64) -> Vec<u8> {
    let mut pages = pages(bytes);
    for page in &mut pages {
        let position = u64::from_le_bytes(page[6..14].try_into().unwrap());
        if position != 0 && position != u64::MAX {
            page[6..14].copy_from_slice(&change(position).to_le_bytes());
            seal(page);
        }
    }
    pages.concat()
}

/// The file as a stream with another serial number.
fn with_serial(bytes: &[u8], serial: u32) -> Vec<u8> {
    let mut pages = pages(bytes);
    for page in &mut pages {
        page[14..18].copy_from_slice(&serial.to_le_bytes());
        seal(page);
    }
    pages.concat()
}

/// A stream of Skeleton: its first page, and its last one, which has no packet.
fn skeleton() -> [Vec<u8>; 2] {
    [(2, &b"fishead\0\x04\0\0\0\0\0\0\0"[..]), (4, b"")].map(|(flags, body)| {
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.extend_from_slice(&[0; 8]);
        page.extend_from_slice(b"SKEL");
        page.extend_from_slice(&[0; 8]);
        page.extend_from_slice(&[1, u8::try_from(body.len()).unwrap()]);
        page.extend_from_slice(body);
        seal(&mut page);
        page
    })
}

/// The file with Skeleton beside it.
fn with_skeleton(bytes: &[u8]) -> Vec<u8> {
    let [first, last] = skeleton();
    let mut pages = pages(bytes);
    pages.insert(1, last);
    pages.insert(0, first);
    // All streams begin before any goes on: Skeleton, the sound, then Skeleton's end.
    pages.concat()
}

#[track_caller]
fn assert_lasts(workshop: &Workshop, case: &str, bytes: &[u8], codec: &str, seconds: f64) -> Facts {
    let facts = facts_of(&workshop.write("case.ogg", bytes));
    let facts = facts.unwrap_or_else(|refusal| panic!("{case}: {refusal}"));
    assert_eq!((facts.media_type, &*facts.codec), ("audio/ogg", codec), "{case}");
    assert!((facts.duration_seconds - seconds).abs() <= 0.015, "{case}: {}", facts.duration_seconds);
    facts
}

#[test]
fn opus_is_as_long_as_its_packets_whatever_its_positions_say() {
    let workshop = Workshop::new();
    let whole = opus(&workshop);
    assert_lasts(&workshop, "as it is", &whole, "opus", 4.0);
    for (case, change) in [
        ("ten minutes in", (|position| position + 28_800_000) as fn(u64) -> u64),
        ("all 0", |_| 0),
        ("all the same", |_| 12_345),
        ("backwards", |position| 1_000_000 - position),
        ("for ever", |position| position << 40),
        ("below zero", |position| position.wrapping_sub(1 << 40)),
        ("a second later on each page", |position| position + position / 48_000 * 48_000),
    ] {
        assert_lasts(&workshop, case, &with_positions(&whole, change), "opus", 4.0);
    }
}

#[test]
fn streams_one_after_another_are_one_recording() {
    let workshop = Workshop::new();
    let (opus, vorbis) = (opus(&workshop), vorbis(&workshop));
    for (codec, one) in [("opus", &opus), ("vorbis", &vorbis)] {
        let other = with_serial(one, 7);
        let single = assert_lasts(&workshop, codec, one, codec, 4.0);
        let facts = assert_lasts(&workshop, codec, &[one.clone(), other.clone()].concat(), codec, 8.0);
        assert_eq!(facts.verification, single.verification);
        let three = [one.clone(), other, with_skeleton(&with_serial(one, 8)), vec![0; 100]].concat();
        assert_lasts(&workshop, codec, &three, codec, 12.0);
        // Even where they have one serial number.
        assert_lasts(&workshop, codec, &[one.clone(), one.clone()].concat(), codec, 8.0);
    }
    let mixed = assert_lasts(&workshop, "mixed", &[vorbis, opus].concat(), "vorbis", 8.0);
    assert_eq!(mixed.verification, Verification::HeaderOnly);
}

#[test]
fn skeleton_and_zeros_are_no_part_of_the_sound() {
    let workshop = Workshop::new();
    for (codec, whole) in [("opus", opus(&workshop)), ("vorbis", vorbis(&workshop))] {
        let single = assert_lasts(&workshop, codec, &whole, codec, 4.0);
        for bytes in [
            with_skeleton(&whole),
            [whole.clone(), vec![0; 1]].concat(),
            [whole.clone(), vec![0; 26]].concat(),
            [whole.clone(), vec![0; 5000]].concat(),
        ] {
            let facts = assert_lasts(&workshop, codec, &bytes, codec, 4.0);
            assert_eq!(facts, single);
        }
        let refused = |bytes: &[u8], refusal| assert_refused(&workshop.write("a.ogg", bytes), &refusal);
        refused(
            &[whole.clone(), b"words, and more of them than a page's header".to_vec()].concat(),
            Refusal::not_audio(""),
        );
        refused(&[whole.clone(), b"OggS".to_vec()].concat(), Refusal::Truncated);
    }
    let [first, last] = skeleton();
    assert_refused(&workshop.write("a.ogg", &[first, last].concat()), &Refusal::not_audio(""));
}

#[test]
fn vorbis_may_begin_at_any_position() {
    let workshop = Workshop::new();
    let later = with_positions(&vorbis(&workshop), |position| position + 4_800_000);
    let facts = assert_lasts(&workshop, "vorbis", &later, "vorbis", 4.0);
    assert_eq!(facts.verification, Verification::Decoded);
}

#[test]
fn opus_whose_packets_are_none_is_refused_and_without_packets_it_is_empty() {
    let workshop = Workshop::new();
    let whole = pages(&opus(&workshop));
    assert_refused(&workshop.write("a.opus", &whole[..2].concat()), &Refusal::Empty);
    let mut broken = whole.clone();
    let at = 27 + usize::from(broken[2][26]);
    // Code 3, and no frames.
    broken[2][at..at + 2].copy_from_slice(&[3, 0]);
    assert_refused(&workshop.write("a.opus", &broken.concat()), &Refusal::not_audio(""));
    let endless = [&whole[0][..], &whole[1]].concat().repeat(1200);
    assert_refused(&workshop.write("a.opus", &endless), &Refusal::not_audio(""));
}
