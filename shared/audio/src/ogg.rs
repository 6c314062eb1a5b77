//! Ogg: walks the pages (RFC 3533), then decodes Vorbis and FLAC. Opus and Speex are only walked.
//!
//! A file may hold several streams one after another; the recording is all of them. Streams that run beside the sound, such
//! as Skeleton, are left out.

use std::borrow::Cow;
use std::time::Instant;

use callvine_domain::recording::Verification;

use crate::decode::{self, Container, DECODE_TIME_MAX};
use crate::input::Input;
use crate::{Ending, Facts, Listener, Refusal, Shape, seconds};

mod stream;

use stream::{Codec, Page, Stream};

/// Most streams one after another: a recorder begins a new one when it is interrupted.
const LINKS_MAX: usize = 1000;

/// Bytes looked at in one go behind the last page.
const TAIL_BLOCK_BYTES: u64 = 4096;

/// A stream of sound, and the part of the file where it and the streams beside it are.
struct Link {
    start: u64,
    end: u64,
    stream: Stream,
}

pub(crate) fn read(input: &mut Input, listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    let links = walk(input)?;
    if links.is_empty() {
        return Err(Refusal::not_audio("the recording is an Ogg file without sound that is known here"));
    }
    let started = Instant::now();
    let mut whole: Option<Facts> = None;
    for link in &links {
        let first_shape = whole.as_ref().map(|facts| facts.shape);
        let facts = match &link.stream.codec {
            Codec::Decoded => {
                let section = input.section(link.start, link.end - link.start)?;
                let time_left = DECODE_TIME_MAX.saturating_sub(started.elapsed());
                // Listeners know one shape.
                let mut listener = |shape: Shape, samples: &[i16]| {
                    if first_shape.is_none_or(|first| first == shape) {
                        listener(shape, samples);
                    }
                };
                decode::run_within(time_left, section, Container::Ogg, &mut listener).map(|sound| sound.facts)
            }
            Codec::Walked { name, shape, .. } => walked(name, *shape, link.stream.frames()),
        };
        whole = match (whole, facts) {
            (None, Ok(facts)) => Some(facts),
            (Some(whole), Ok(facts)) => Some(joined(whole, &facts)),
            // One of several.
            (whole, Err(Refusal::Empty)) => whole,
            (_, Err(refusal)) => return Err(refusal),
        };
    }
    whole.ok_or(Refusal::Empty)
}

fn joined(mut whole: Facts, next: &Facts) -> Facts {
    whole.duration_seconds += next.duration_seconds;
    if next.shape != whole.shape || next.verification != Verification::Decoded {
        whole.verification = Verification::HeaderOnly;
    }
    whole
}

fn walked(codec: &'static str, shape: Shape, frames: u64) -> Result<Facts, Refusal> {
    if frames == 0 {
        return Err(Refusal::Empty);
    }
    Ok(Facts {
        media_type: "audio/ogg",
        codec: Cow::Borrowed(codec),
        duration_seconds: seconds(frames, shape.sample_rate),
        shape,
        verification: Verification::HeaderOnly,
        ending: Ending::Told,
    })
}

/// Walks the pages to the end of the file.
fn walk(input: &mut Input) -> Result<Vec<Link>, Refusal> {
    let mut links: Vec<Link> = Vec::new();
    // Streams that run beside each other all begin before any goes on: where they begin, and whether one of them is sound.
    let mut group: Option<(u64, bool)> = None;
    let mut body = Vec::new();
    input.seek(0)?;
    while input.left_bytes() > 0 {
        let start = input.position();
        let Some(page) = next_page(input)? else { break };
        let end = input.position() + page.body_bytes();
        if page.begins {
            let (group_start, has_sound) = group.unwrap_or((start, false));
            let stream = if has_sound { None } else { Stream::begun(input, &page)? };
            group = Some((group_start, has_sound || stream.is_some()));
            if let Some(stream) = stream {
                if links.len() == LINKS_MAX {
                    return Err(Refusal::not_audio("the recording is an Ogg file of too many streams"));
                }
                links.push(Link { start: group_start, end, stream });
            }
        } else {
            group = None;
        }
        if let Some(link) = links.last_mut().filter(|link| group.is_none_or(|(at, _)| at == link.start)) {
            link.end = end;
            if !page.begins && link.stream.serial == page.serial {
                input.seek(end - page.body_bytes())?;
                link.stream.take(input, &page, &mut body)?;
            }
        }
        input.seek(end)?;
    }
    Ok(links)
}

/// The header of the page at this position; `None` where nothing but zeros is left. Leaves the position at the body.
fn next_page(input: &mut Input) -> Result<Option<Page>, Refusal> {
    let start = input.position();
    match input.read::<27>()? {
        Some([b'O', b'g', b'g', b'S', 0, flags, g @ .., _, _, _, _, _, _, _, _, segments]) => {
            let [g0, g1, g2, g3, g4, g5, g6, g7, serial @ ..] = g;
            let mut sizes = vec![0; usize::from(segments)];
            if !input.fill(&mut sizes)? {
                return Err(Refusal::Truncated);
            }
            let position = i64::from_le_bytes([g0, g1, g2, g3, g4, g5, g6, g7]);
            let page = Page { begins: flags & 2 != 0, position, serial, sizes };
            if page.body_bytes() > input.left_bytes() {
                return Err(Refusal::Truncated);
            }
            Ok(Some(page))
        }
        _ if is_zero_from(input, start)? => Ok(None),
        Some(_) => Err(Refusal::not_audio("the recording is a broken Ogg file")),
        None => Err(Refusal::Truncated),
    }
}

/// Whether nothing but zeros comes from here on. Leaves the position anywhere.
fn is_zero_from(input: &mut Input, start: u64) -> Result<bool, Refusal> {
    input.seek(start)?;
    let mut block = Vec::new();
    while input.left_bytes() > 0 {
        block.resize(usize::try_from(input.left_bytes().min(TAIL_BLOCK_BYTES)).unwrap_or(0), 0);
        if !input.fill(&mut block)? || block.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}
