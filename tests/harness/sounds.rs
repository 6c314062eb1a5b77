//! Real telephony recordings: the prompts of Asterisk, as Debian packages them.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Where the package `asterisk-core-sounds-en-wav` has them.
const DIRECTORY: &str = "/usr/share/asterisk/sounds/en_US_f_Allison";

/// The simplest header of a WAV file.
const HEADER_BYTES: u64 = 44;

/// One recording, with what the program should find out about it, computed here from the file's header alone.
#[derive(Clone, Debug)]
pub struct Sound {
    /// Where it lies.
    pub path: PathBuf,
    /// The whole file.
    pub bytes: Bytes,
    /// SHA-256 of the file, in lower-case hexadecimal.
    pub sha256: String,
    /// Seconds of sound.
    pub duration_seconds: f64,
    /// Channels.
    pub channels: u16,
    /// Samples a second of one channel.
    pub sample_rate: u32,
}

/// The first `count` recordings by name, all different.
///
/// # Panics
/// When there are fewer, or a file is no WAV file.
pub fn sounds(count: usize) -> Vec<Sound> {
    let mut paths: Vec<PathBuf> = fs::read_dir(DIRECTORY)
        .unwrap_or_else(|error| panic!("{DIRECTORY}: {error}; apt-get install asterisk-core-sounds-en-wav"))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wav"))
        .collect();
    paths.sort();
    assert!(paths.len() >= count, "{DIRECTORY} has only {} recordings, not {count}", paths.len());
    paths.truncate(count);
    paths.iter().map(|path| Sound::read(path)).collect()
}

/// So many seconds of 8 kHz A-law in one channel, as telephone recorders write it: a header and noise.
///
/// # Panics
/// When that is more than a WAV file holds.
pub fn telephone_sound(seconds: u64) -> Vec<u8> {
    telephone_file(seconds * 8000 + HEADER_BYTES)
}

/// As [`telephone_sound`], as a file of so many bytes.
///
/// # Panics
/// When that is less than a header or more than a WAV file holds.
pub fn telephone_file(size_bytes: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(size_bytes).unwrap()];
    let (header, noise) = bytes.split_first_chunk_mut().unwrap();
    *header = telephone_header(u32::try_from(noise.len()).unwrap());
    fastrand::Rng::with_seed(size_bytes).fill(noise);
    bytes
}

/// The header of a WAV file with so many bytes of 8 kHz A-law.
pub(crate) fn telephone_header(data_bytes: u32) -> [u8; 44] {
    let mut header =
        *b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x06\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\0\0\0\0";
    header[4..8].copy_from_slice(&(data_bytes + 36).to_le_bytes());
    header[40..].copy_from_slice(&data_bytes.to_le_bytes());
    header
}

impl Sound {
    /// Reads a WAV file.
    ///
    /// # Panics
    /// When it cannot be read or is none.
    pub fn read(path: &Path) -> Self {
        let bytes = Bytes::from(fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
        let format = chunk(&bytes, b"fmt ").unwrap_or_else(|| panic!("{} has no format", path.display()));
        let data = chunk(&bytes, b"data").unwrap_or_else(|| panic!("{} has no data", path.display()));
        let bytes_per_second = u32_at(&format, 8);
        Self {
            sha256: hex::encode(Sha256::digest(&bytes)),
            duration_seconds: f64::from(u32::try_from(data.len()).unwrap()) / f64::from(bytes_per_second),
            channels: u16::try_from(u32_at(&format, 0) >> 16).unwrap(),
            sample_rate: u32_at(&format, 4),
            path: path.to_owned(),
            bytes,
        }
    }
}

/// The content of the first chunk of this name in a RIFF file (Microsoft's "Multimedia Programming Interface and Data
/// Specifications 1.0": four letters, 32 bits of length, content, padded to an even length).
fn chunk(file: &Bytes, name: &[u8; 4]) -> Option<Bytes> {
    assert!(file.starts_with(b"RIFF") && file.get(8..12)? == b"WAVE", "not a WAV file");
    let mut at = 12;
    loop {
        let length = usize::try_from(u32_at(&file.slice(at..), 4)).unwrap();
        if file.get(at..at + 4)? == name {
            return Some(file.slice(at + 8..(at + 8 + length).min(file.len())));
        }
        at += 8 + length + length % 2;
    }
}

fn u32_at(bytes: &Bytes, at: usize) -> u32 {
    u32::from_le_bytes(bytes.get(at..at + 4).expect("the file is whole").try_into().unwrap())
}
