//! Files that are made to hurt whoever reads them: small ones that ask for gigabytes, hours or nothing at all.
//!
//! Each is written here from the specification of its format, by numbers alone; none has a second of sound.

use fastrand::Rng;

/// A file that is made to hurt its reader.
pub struct Hostile {
    /// Its kind.
    pub name: &'static str,
    /// All of it.
    pub bytes: Vec<u8>,
}

impl Hostile {
    /// One of each kind.
    pub fn all() -> Vec<Self> {
        let of = |name, bytes| Self { name, bytes };
        vec![
            of("codebooks", vorbis_codebooks(32)),
            of("fragments of many tracks", mp4_tracks(1000, 27_000)),
            of("empty runs before a long one", mp4_runs(1000, u32::MAX)),
            of("one long run", mp4_runs(0, u32::MAX)),
            of("seek points in falling order", flac_seek_points(900_000)),
            of("constant blocks", flac_constant(100_000)),
            of("no byte of sound", mp4_of_nothing(1_664_000)),
        ]
    }

    /// One that takes far longer than any deadline.
    pub fn endless() -> Self {
        Self { name: "constant blocks without end", bytes: flac_constant(450_000) }
    }
}

/// Ogg Vorbis (RFC 3533; Vorbis I, 3.2.1) whose setup header has so many codebooks, each of 131,072 vectors of 31 numbers:
/// 16 MB in 21 bytes.
fn vorbis_codebooks(count: u8) -> Vec<u8> {
    let mut identification = b"\x01vorbis\0\0\0\0\x01".to_vec();
    identification.extend(8000_u32.to_le_bytes());
    identification.extend([0; 12]);
    identification.extend([0xb8, 1]);
    let comment = b"\x03vorbis\0\0\0\0\0\0\0\0\x01";
    let mut setup = Bits::after(b"\x05vorbis");
    setup.write(u64::from(count - 1), 8);
    for _ in 0..count {
        for (value, width) in [
            (0x56_4342, 24),
            (31, 16),
            (131_072, 24),
            // Ordered by length; all lengths are 17.
            (1, 1),
            (16, 5),
            (131_072, 18),
            // One number for all, of one bit.
            (1, 4),
            (0, 32),
            (0, 32),
            (0, 4),
            (0, 1),
            (0, 1),
        ] {
            setup.write(value, width);
        }
    }
    let setup = setup.bytes();
    let mut file = ogg_page(2, 0, &[&identification]);
    file.extend(ogg_page(0, 1, &[comment, &setup]));
    file.extend(ogg_page(4, 2, &[&[0; 8]]));
    file
}

/// A page of whole packets.
fn ogg_page(flags: u8, number: u32, packets: &[&[u8]]) -> Vec<u8> {
    let mut sizes = Vec::new();
    for packet in packets {
        sizes.extend(std::iter::repeat_n(255, packet.len() / 255));
        sizes.push(u8::try_from(packet.len() % 255).unwrap());
    }
    let mut page = b"OggS\0".to_vec();
    page.push(flags);
    page.extend([0; 8]);
    page.extend(7_u32.to_le_bytes());
    page.extend(number.to_le_bytes());
    page.extend([0; 4]);
    page.push(u8::try_from(sizes.len()).unwrap());
    page.extend(sizes);
    for packet in packets {
        page.extend(*packet);
    }
    let sum = u32::try_from(crc(&page, 32, 0x04c1_1db7)).unwrap();
    page.get_mut(22..26).unwrap().copy_from_slice(&sum.to_le_bytes());
    page
}

/// Bits, the lowest first.
struct Bits {
    bytes: Vec<u8>,
    open: u64,
    width: u32,
}

impl Bits {
    fn after(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), open: 0, width: 0 }
    }

    fn write(&mut self, value: u64, width: u32) {
        self.open |= value << self.width;
        self.width += width;
        while self.width >= 8 {
            self.bytes.push(self.open.to_le_bytes()[0]);
            self.open >>= 8;
            self.width -= 8;
        }
    }

    fn bytes(mut self) -> Vec<u8> {
        self.write(1, 1);
        self.write(0, 7);
        self.bytes
    }
}

/// A remainder, highest bit first.
fn crc(bytes: &[u8], width: u32, polynomial: u64) -> u64 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ u64::from(*byte) << (width - 8), |sum, _| {
            let carry = sum >> (width - 1) & 1 == 1;
            let shifted = (sum << 1) & ((1 << width) - 1);
            if carry { shifted ^ polynomial } else { shifted }
        })
    })
}

/// An MP4 file (ISO/IEC 14496-12) of so many tracks and, after them, so many fragments of none: the reader keeps a place for
/// each track in each fragment.
fn mp4_tracks(tracks: u32, fragments: u32) -> Vec<u8> {
    let mut file = mp4_start(tracks, &[]);
    for number in 0..fragments {
        file.extend(atom(b"moof", &[&full_atom(b"mfhd", 0, &[number])]));
    }
    file
}

/// An MP4 file with one fragment: so many empty runs, then one of `samples` samples without a byte.
fn mp4_runs(empty: u32, samples: u32) -> Vec<u8> {
    let mut runs = vec![full_atom(b"tfhd", 0x18, &[1, 8, 0])];
    runs.extend((0..empty).map(|_| full_atom(b"trun", 0, &[0])));
    runs.push(full_atom(b"trun", 0, &[samples]));
    let runs: Vec<&[u8]> = runs.iter().map(Vec::as_slice).collect();
    let mut file = mp4_start(1, &[]);
    file.extend(atom(b"moof", &[&full_atom(b"mfhd", 0, &[1]), &atom(b"traf", &runs)]));
    file.extend(atom(b"mdat", &[&[0; 8]]));
    file
}

/// An MP4 file whose index lists so many samples without a byte.
fn mp4_of_nothing(samples: u32) -> Vec<u8> {
    mp4_start(1, &[samples])
}

/// `ftyp` and `moov`. Each track has one sample table: empty, for fragments, or of so many samples.
fn mp4_start(tracks: u32, samples: &[u32]) -> Vec<u8> {
    let count = samples.first().copied().unwrap_or(0);
    let mut index = vec![full_atom(b"mvhd", 0, &[&[0, 0, 8000, count], &[0_u32; 21][..]].concat())];
    let mut defaults = Vec::new();
    for track in 1..=tracks {
        let entry = [&[0; 6][..], &[0, 1], &[0; 8], &[0, 1, 0, 8], &[0; 4], &[0x1f, 0x40, 0, 0]].concat();
        let description = [&1_u32.to_be_bytes()[..], &atom(b"ulaw", &[&entry])].concat();
        let times: &[u32] = if count > 0 { &[1, count, 1] } else { &[0] };
        let chunks: &[u32] = if count > 0 { &[1, 1, count, 1] } else { &[0] };
        let offsets: &[u32] = if count > 0 { &[1, 8] } else { &[0] };
        let table = atom(
            b"stbl",
            &[
                &atom(b"stsd", &[&[0; 4], &description]),
                &full_atom(b"stts", 0, times),
                &full_atom(b"stsc", 0, chunks),
                &full_atom(b"stsz", 0, &[0, 0]),
                &full_atom(b"stco", 0, offsets),
            ],
        );
        let media = atom(
            b"mdia",
            &[
                &full_atom(b"mdhd", 0, &[0, 0, 8000, count, 0x55c4_0000]),
                &full_atom(b"hdlr", 0, &[0, u32::from_be_bytes(*b"soun"), 0, 0, 0, 0]),
                &atom(b"minf", &[&full_atom(b"smhd", 0, &[0]), &table]),
            ],
        );
        let header = full_atom(b"tkhd", 7, &[&[0, 0, track, 0, count], &[0_u32; 15][..]].concat());
        index.push(atom(b"trak", &[&header, &media]));
        defaults.push(full_atom(b"trex", 0, &[track, 1, 8, 0, 0]));
    }
    if count == 0 {
        let defaults: Vec<&[u8]> = defaults.iter().map(Vec::as_slice).collect();
        index.push(atom(b"mvex", &defaults));
    }
    let index: Vec<&[u8]> = index.iter().map(Vec::as_slice).collect();
    [atom(b"ftyp", &[b"M4A ", &[0; 4], b"M4A "]), atom(b"moov", &index)].concat()
}

fn atom(kind: &[u8; 4], content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let size = u32::try_from(content.len() + 8).unwrap();
    [&size.to_be_bytes()[..], kind, &content].concat()
}

/// An atom with flags, and 32-bit numbers.
fn full_atom(kind: &[u8; 4], flags: u32, numbers: &[u32]) -> Vec<u8> {
    let numbers: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    atom(kind, &[&flags.to_be_bytes(), &numbers])
}

/// FLAC (RFC 9639) with so many seek points in falling order: a reader that sorts them in moves all for each.
fn flac_seek_points(count: u32) -> Vec<u8> {
    let mut file = b"fLaC".to_vec();
    file.extend(flac_block(0, &stream_info(1)));
    let points: Vec<u8> = (0..count)
        .flat_map(|number| [&u64::from(count - number).to_be_bytes()[..], &[0; 8], &[0x10, 0]].concat())
        .collect();
    file.extend(flac_block(0x83, &points));
    file.extend(flac_frame(0, 1, 0));
    file
}

/// FLAC of so many blocks of eight channels, each of which is one number repeated 65,535 times: eight seconds in 41 bytes.
fn flac_constant(blocks: u32) -> Vec<u8> {
    let mut file = b"fLaC".to_vec();
    file.extend(flac_block(0x80, &stream_info(8)));
    let mut random = Rng::with_seed(1);
    for number in 0..blocks {
        file.extend(flac_frame(number, 8, random.u16(..)));
    }
    file
}

fn flac_block(kind: u8, content: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind][..], &length, content].concat()
}

/// Blocks of 65,535 frames, 8,000 Hz, 16 bits, of unknown length.
fn stream_info(channels: u64) -> Vec<u8> {
    let mut info = vec![0xff; 4];
    info.extend([0; 6]);
    info.extend((8000_u64 << 44 | (channels - 1) << 41 | 15 << 36).to_be_bytes());
    info.extend([0; 16]);
    info
}

fn flac_frame(number: u32, channels: u8, value: u16) -> Vec<u8> {
    let mut frame = vec![0xff, 0xf8, 0x70, (channels - 1) << 4 | 0x08];
    match number {
        0..0x80 => frame.push(u8::try_from(number).unwrap()),
        0x80..0x800 => frame.extend([0xc0 | bits(number, 6, 5), 0x80 | bits(number, 0, 6)]),
        0x800..0x1_0000 => {
            frame.extend([0xe0 | bits(number, 12, 4), 0x80 | bits(number, 6, 6), 0x80 | bits(number, 0, 6)]);
        }
        _ => frame.extend([
            0xf0 | bits(number, 18, 3),
            0x80 | bits(number, 12, 6),
            0x80 | bits(number, 6, 6),
            0x80 | bits(number, 0, 6),
        ]),
    }
    frame.extend([0xff, 0xfe]);
    frame.push(u8::try_from(crc(&frame, 8, 7)).unwrap());
    for _ in 0..channels {
        frame.push(0);
        frame.extend(value.to_be_bytes());
    }
    let sum = u16::try_from(crc(&frame, 16, 0x8005)).unwrap();
    frame.extend(sum.to_be_bytes());
    frame
}

fn bits(number: u32, from: u32, width: u32) -> u8 {
    u8::try_from(number >> from & ((1 << width) - 1)).unwrap()
}
