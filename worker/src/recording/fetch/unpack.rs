//! Unpacks a body that a host has packed although it was not asked to (`Content-Encoding: gzip` or `deflate`), on its way into
//! the sink.
//!
//! Never more than a few pieces of 32 KiB are in memory. A packed recording may not be larger than any other, and it may
//! not unpack to more than [`RATIO_MAX`] times its size: a bomb would use up disk and processor for a few bytes.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use http::header::{CONTENT_ENCODING, HeaderMap};

use super::sink::Sink;
use crate::recording::failure::{Failure, Reason};

/// Most bytes that one packed byte may become. Speech becomes less than two, and digital silence up to a thousand: a
/// recording of silence alone is let through by [`RATIO_FROM_BYTES`].
const RATIO_MAX: u64 = 100;

/// Up to this size a recording may consist of silence alone: half an hour of it at 8 kHz.
const RATIO_FROM_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes that are unpacked at once.
const PIECE_BYTES: usize = 32 * 1024;

/// Bytes by which packed content is told from a recording that is not packed, whatever the header says.
const MARK_BYTES: usize = 4;

/// How recordings begin that could be taken for bare deflate.
const PLAIN_MARKS: [&[u8]; 11] = [
    b"RIFF",
    b"RIFX",
    b"RF64",
    b"BW64",
    b"OggS",
    b"fLaC",
    b"FORM",
    b"ID3",
    b"#!AM",
    b".snd",
    b"\x1a\x45\xdf\xa3",
];

/// How a body is packed, by its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// Not at all, or in a way that is not known: then the bytes are judged as they come.
    None,
    Gzip,
    Deflate,
}

impl Packing {
    /// The packing that was put on last. Another one below it is not taken off: no host packs twice but to do harm.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let codings = values.flat_map(|value| value.split(',')).map(str::trim);
        let mut known = codings.filter_map(|coding| match coding.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        });
        known.next_back().unwrap_or(Self::None)
    }
}

/// Takes a body as it comes, and gives it unpacked to a sink.
pub(super) struct Unpacker<'a> {
    stage: Stage<'a>,
}

enum Stage<'a> {
    /// The first bytes, until there are enough to tell.
    Beginning {
        packing: Packing,
        bytes: Vec<u8>,
        into: Unpacked<'a>,
    },
    Plain(Unpacked<'a>),
    Gzip(Box<MultiGzDecoder<Unpacked<'a>>>),
    Deflate(Box<Inflater<'a>>),
    /// It has failed.
    Over,
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(packing: Packing, sink: &'a mut Sink) -> Self {
        let into = Unpacked { sink, packed_bytes: 0, unpacked_bytes: 0, failure: None };
        let stage = match packing {
            Packing::None => Stage::Plain(into),
            _ => Stage::Beginning { packing, bytes: Vec::with_capacity(MARK_BYTES), into },
        };
        Self { stage }
    }

    /// Takes bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if let Stage::Beginning { bytes: first, .. } = &mut self.stage {
            first.extend_from_slice(bytes);
            if first.len() < MARK_BYTES {
                return Ok(());
            }
            return self.begin();
        }
        self.stage.take(bytes)
    }

    /// The body is over.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        self.begin()?;
        match self.stage {
            Stage::Gzip(mut decoder) => decoder.try_finish().map_err(|_short| decoder.get_mut().failure()),
            Stage::Deflate(inflater) if !inflater.is_over => Err(unpackable()),
            _ => Ok(()),
        }
    }

    /// Decides by the first bytes, if that is still to be done.
    fn begin(&mut self) -> Result<(), Failure> {
        let (packing, bytes, into) = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Beginning { packing, bytes, into } => (packing, bytes, into),
            begun => {
                self.stage = begun;
                return Ok(());
            }
        };
        self.stage = match packing {
            // Too short for anything packed.
            _ if bytes.len() < MARK_BYTES => Stage::Plain(into),
            Packing::Gzip if bytes.starts_with(&[0x1f, 0x8b]) => {
                Stage::Gzip(Box::new(MultiGzDecoder::new(into)))
            }
            Packing::Deflate if is_zlib(&bytes) => Stage::Deflate(Box::new(Inflater::new(true, into))),
            // Some hosts leave zlib's wrapping off.
            Packing::Deflate if is_bare_deflate(&bytes) => {
                Stage::Deflate(Box::new(Inflater::new(false, into)))
            }
            _ => Stage::Plain(into),
        };
        self.stage.take(&bytes)
    }
}

impl Stage<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Plain(into) => into.sink.push(bytes),
            Self::Gzip(decoder) => {
                decoder.get_mut().packed_bytes += bytes.len() as u64;
                decoder.write_all(bytes).map_err(|_broken| decoder.get_mut().failure())
            }
            Self::Deflate(inflater) => inflater.take(bytes),
            Self::Beginning { .. } | Self::Over => Err(unpackable()),
        }
    }
}

/// A zlib header (RFC 1950, 2.2).
fn is_zlib(bytes: &[u8]) -> bool {
    match bytes {
        [method, flags, ..] => method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0,
        _ => false,
    }
}

/// Whether this can be deflate (RFC 1951, 3.2.3) and is no recording. An MPEG frame begins with a kind of block that does
/// not exist.
fn is_bare_deflate(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first & 0b110 != 0b110)
        && !PLAIN_MARKS.iter().any(|mark| bytes.starts_with(mark))
}

/// Unpacks deflate, with or without zlib's wrapping.
struct Inflater<'a> {
    state: Decompress,
    into: Unpacked<'a>,
    /// The packed content has ended; whatever follows is not part of it.
    is_over: bool,
}

impl<'a> Inflater<'a> {
    fn new(is_zlib: bool, into: Unpacked<'a>) -> Self {
        Self { state: Decompress::new(is_zlib), into, is_over: false }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        self.into.packed_bytes += bytes.len() as u64;
        let mut piece = [0; PIECE_BYTES];
        while !self.is_over {
            let (taken, given) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(bytes, &mut piece, FlushDecompress::None);
            let status = status.map_err(|_broken| unpackable())?;
            let taken = usize::try_from(self.state.total_in() - taken).unwrap_or(usize::MAX);
            let given = usize::try_from(self.state.total_out() - given).unwrap_or(usize::MAX);
            bytes = bytes.get(taken..).unwrap_or_default();
            self.into
                .write_all(piece.get(..given).unwrap_or_default())
                .map_err(|_full| self.into.failure())?;
            self.is_over = status == Status::StreamEnd;
            if bytes.is_empty() && given < PIECE_BYTES {
                break;
            }
            if taken == 0 && given == 0 {
                return Err(unpackable());
            }
        }
        Ok(())
    }
}

/// The way into the sink, within the ratio.
struct Unpacked<'a> {
    sink: &'a mut Sink,
    packed_bytes: u64,
    unpacked_bytes: u64,
    /// Why it takes no more.
    failure: Option<Failure>,
}

impl Unpacked<'_> {
    /// Why unpacking failed: for a reason of the sink or of the ratio, or else of the packed bytes.
    fn failure(&mut self) -> Failure {
        self.failure.take().unwrap_or_else(unpackable)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.unpacked_bytes = self.unpacked_bytes.saturating_add(bytes.len() as u64);
        let most = self.packed_bytes.saturating_mul(RATIO_MAX).max(RATIO_FROM_BYTES);
        if self.unpacked_bytes > most {
            let detail = format!("the recording unpacks to more than {RATIO_MAX} times what the host sent");
            return Err(Failure::new(Reason::TooLarge, detail));
        }
        self.sink.push(bytes)
    }
}

impl Write for Unpacked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.take(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(failure) => {
                self.failure = Some(failure);
                Err(io::ErrorKind::Other.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unpackable() -> Failure {
    Failure::new(Reason::Truncated, "what the host has packed cannot be unpacked")
}

#[cfg(test)]
mod tests;
