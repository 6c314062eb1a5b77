//! Names for people the kind of file that bytes begin which are no audio.

/// Bytes before the mark of a tar archive.
const TAR_MARK: usize = 257;

/// Marks at the start of files, and what such a file is called.
const MARKS: [(&[u8], &str); 32] = [
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ\0", "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"\x89PNG", "an image (PNG)"),
    (b"\xff\xd8\xff", "an image (JPEG)"),
    (b"GIF8", "an image (GIF)"),
    (b"%PDF", "a PDF"),
    (b"%!PS", "PostScript"),
    (b"{\\rtf", "a text of a word processor (RTF)"),
    (b"\xd0\xcf\x11\xe0", "a document of Microsoft Office"),
    (b"#EXTM3U", "a playlist (M3U8), which names recordings and is none"),
    (b"[playlist]", "a playlist (PLS), which names recordings and is none"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media (ASF), which is not read"),
    (b".RMF", "RealMedia, which is not read"),
    (b".ra\xfd", "RealAudio, which is not read"),
    (b"FLV\x01", "Flash video, which is not read"),
    (b"caff", "a Core Audio file (CAF), which is not read"),
    (b"wvpk", "WavPack, which is not read"),
    (b"MAC ", "Monkey's Audio, which is not read"),
    (b"MThd", "notes (MIDI), which are not sound"),
    (b"#!AMR", "a kind of AMR that is not read"),
    (b"#!SILK_V3", "SILK, which is not read"),
    (b"\x02#!SILK_V3", "SILK, which is not read"),
    (b"Creative Voice File", "a Creative Voice file, which is not read"),
    (b"\x0b\x77", "Dolby Digital (AC-3), which is not read"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3", "a database"),
];

/// The name of a file with a mark of its own.
pub(crate) fn named(start: &[u8]) -> Option<&'static str> {
    let is_tar = start.get(TAR_MARK..TAR_MARK + 5) == Some(b"ustar");
    let marked = || MARKS.iter().find(|(mark, _)| start.starts_with(mark)).map(|&(_, name)| name);
    let riff = || start.starts_with(b"RIFF").then_some("a RIFF file, but no WAVE");
    let ts = || {
        (start.first() == Some(&0x47) && start.get(188) == Some(&0x47))
            .then_some("an MPEG transport stream, which is not read")
    };
    is_tar.then_some("a tar archive").or_else(marked).or_else(riff).or_else(ts)
}

/// The name of a text, where bytes are the start of one.
pub(crate) fn text(start: &[u8]) -> Option<&'static str> {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let is_control = |byte: &u8| *byte < 0x20 && !b"\t\n\x0c\r\x1b".contains(byte) || *byte == 0x7f;
    if text.is_empty() || start.iter().any(is_control) {
        return None;
    }
    let begins = |name: &[u8]| text.get(..name.len()).is_some_and(|text| text.eq_ignore_ascii_case(name));
    if begins(b"<!doctype html") || begins(b"<html") {
        Some("a web page, perhaps one to sign in")
    } else if begins(b"<") {
        Some("XML or HTML, perhaps an error")
    } else if begins(b"{") || begins(b"[") {
        Some("JSON, perhaps an error")
    } else {
        // The start may end within a letter. Bytes of another alphabet are rare in a short text of a host.
        let letters = text.iter().filter(|byte| byte.is_ascii()).count();
        (std::str::from_utf8(text).is_ok() || letters >= text.len() - text.len() / 8).then_some("plain text")
    }
}
