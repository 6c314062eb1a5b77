//! Entrances for the fuzz targets, to code of the fetch that is nobody else's business. The program has none of them.

use std::path::Path;

use callvine_shared::objects::Space;
use http::header::{CONTENT_ENCODING, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use url::Url;

use super::signer::Signer;
use super::sink::Sink;
use super::unpack::{Packing, Unpacker};
use super::{Credentials, Wanted};

/// Most headers of one answer, as hyper has it.
const HEADERS_MAX: usize = 100;

/// The recording, of at most `bytes_max` bytes, that comes of a body in pieces of `piece` bytes with this
/// `Content-Encoding`; `None` where the body is refused. It is staged in `directory`.
#[must_use]
pub fn unpack(directory: &Path, coding: &str, body: &[u8], piece: usize, bytes_max: u64) -> Option<Vec<u8>> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_str(coding).ok()?);
    let mut sink = Sink::create(&Space::new(directory, 0), bytes_max).ok()?;
    let mut unpacker = Unpacker::new(Packing::of(&headers), &mut sink);
    body.chunks(piece.max(1)).try_for_each(|bytes| unpacker.push(bytes)).ok()?;
    unpacker.finish().ok()?;
    std::fs::read(sink.finish(true).ok()?.file.path()).ok()
}

/// The `Authorization` with which a fetch of `url` answers these challenges, if it does.
#[must_use]
pub fn answer_to(challenges: &[&[u8]], url: &str) -> Option<Vec<u8>> {
    let wanted = Wanted { url: Url::parse(url).ok()?, client: String::new() };
    let credentials = Credentials::default();
    let mut signer = Signer::new(&wanted, &credentials);
    let mut headers = HeaderMap::new();
    for challenge in challenges.iter().take(HEADERS_MAX) {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_bytes(challenge).ok()?);
    }
    if !signer.is_challenged(&wanted.url, &headers) {
        return None;
    }
    let answer = signer.authorization(&wanted.url).ok()??;
    Some(answer.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entrances_lead_to_the_unpacker_and_the_signer() {
        // A gzip member of the stored block "hi" (RFC 1951, 3.2.4; RFC 1952, 2.3), whose CRC-32 is 0xd8932aac.
        let packed = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01\x02\0\xfd\xffhi\xac\x2a\x93\xd8\x02\0\0\0";
        let directory = tempfile::tempdir().unwrap();
        let unpack = |coding, body: &[u8]| unpack(directory.path(), coding, body, 3, 100);
        assert_eq!(unpack("gzip", packed).as_deref(), Some(&b"hi"[..]));
        assert_eq!(unpack("gzip", &packed[..20]), None);
        assert_eq!(unpack("identity", packed).as_deref(), Some(&packed[..]));
        let url = "https://user:secret@example.com/call.wav";
        let answer = answer_to(&[b"Digest realm=\"r\", nonce=\"n\""], url).unwrap();
        assert!(answer.starts_with(b"Digest "));
        assert_eq!(answer_to(&[b"Basic realm=\"r\""], url), None);
    }
}
