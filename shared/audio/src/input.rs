//! Bounded reading of a file.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use crate::Refusal;

/// Bytes of the start, which decide the format.
const START_BYTES: u64 = 512;

/// A file and a position in it.
pub(crate) struct Input {
    reader: BufReader<File>,
    length_bytes: u64,
    position: u64,
}

impl Input {
    /// The whole file; its position may be anywhere.
    pub(crate) fn new(file: File) -> Result<Self, Refusal> {
        let length_bytes = file.metadata().map_err(Refusal::Unreadable)?.len();
        Ok(Self { reader: BufReader::new(file), length_bytes, position: 0 })
    }

    pub(crate) const fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    pub(crate) const fn position(&self) -> u64 {
        self.position
    }

    /// Bytes from here to the end.
    pub(crate) const fn left_bytes(&self) -> u64 {
        self.length_bytes.saturating_sub(self.position)
    }

    /// The first bytes of the file, fewer where it is shorter. Leaves the position at the beginning.
    pub(crate) fn start(&mut self) -> Result<Vec<u8>, Refusal> {
        self.seek(0)?;
        let mut start = Vec::new();
        let read = self.reader.by_ref().take(START_BYTES).read_to_end(&mut start);
        read.map_err(Refusal::Unreadable)?;
        self.seek(0)?;
        Ok(start)
    }

    /// The part of the file from `start`, `length_bytes` long or to its end. Both read at one position of the file: seek
    /// before reading here again.
    pub(crate) fn section(&mut self, start: u64, length_bytes: u64) -> Result<Section, Refusal> {
        self.seek(0)?;
        let file = self.reader.get_ref().try_clone().map_err(Refusal::Unreadable)?;
        let length_bytes = length_bytes.min(self.length_bytes.saturating_sub(start));
        let mut section = Section { file, start, length_bytes, position: 0 };
        section.seek(SeekFrom::Start(0)).map_err(Refusal::Unreadable)?;
        Ok(section)
    }

    /// Goes to this offset, which may be past the end.
    pub(crate) fn seek(&mut self, position: u64) -> Result<(), Refusal> {
        let seek = match i64::try_from(i128::from(position) - i128::from(self.position)) {
            // Keeps the buffered bytes.
            Ok(distance) if position != 0 => self.reader.seek_relative(distance),
            _ => self.reader.seek(SeekFrom::Start(position)).map(drop),
        };
        seek.map_err(Refusal::Unreadable)?;
        self.position = position;
        Ok(())
    }

    /// The next bytes; `None` where fewer are left.
    pub(crate) fn read<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Refusal> {
        let mut bytes = [0; N];
        Ok(self.fill(&mut bytes)?.then_some(bytes))
    }

    /// Fills the buffer. `false` where fewer bytes are left; then the position is at the end.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> Result<bool, Refusal> {
        match self.reader.read_exact(buffer) {
            Ok(()) => {
                self.position += buffer.len() as u64;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                // So much was read as there was, so that only an absolute position is sure.
                self.reader.seek(SeekFrom::Start(self.length_bytes)).map_err(Refusal::Unreadable)?;
                self.position = self.length_bytes;
                Ok(false)
            }
            Err(error) => Err(Refusal::Unreadable(error)),
        }
    }
}

/// A part of the file, which a decoder reads as if it were a whole file.
pub(crate) struct Section {
    file: File,
    start: u64,
    length_bytes: u64,
    position: u64,
}

impl Section {
    pub(crate) const fn length_bytes(&self) -> u64 {
        self.length_bytes
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length_bytes.saturating_sub(self.position);
        let room = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(buffer) = buffer.get_mut(..room) else {
            return Ok(0);
        };
        let read = self.file.read(buffer)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Section {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(distance) => self.position.checked_add_signed(distance),
            SeekFrom::End(distance) => self.length_bytes.checked_add_signed(distance),
        };
        let position = position.ok_or(io::ErrorKind::InvalidInput)?;
        let absolute = self.start.checked_add(position).ok_or(io::ErrorKind::InvalidInput)?;
        self.file.seek(SeekFrom::Start(absolute))?;
        self.position = position;
        Ok(position)
    }
}

impl MediaSource for Section {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.length_bytes)
    }
}
