//! MP4 and M4A, 3GP and `QuickTime`: walks the boxes, then decodes. Codecs of telephones, which nothing decodes here, are
//! described by the boxes alone.

use std::borrow::Cow;

use callvine_domain::recording::Verification;

use crate::decode::{self, Container};
use crate::input::Input;
use crate::{Ending, Facts, Listener, Refusal, Shape, seconds};

mod walk;

use walk::{Track, Walk};

pub(crate) fn read(input: &mut Input, listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    let walk = Walk::of(input)?;
    let media_type = match &walk.brand {
        // Before there were types, there was QuickTime.
        b"qt  " | b"\0\0\0\0" => "audio/quicktime",
        [b'3', b'g', b'2', _] => "audio/3gpp2",
        [b'3', b'g', _, _] => "audio/3gpp",
        _ => "audio/mp4",
    };
    let sound = walk.tracks.iter().find(|track| track.is_sound);
    let facts = match sound.and_then(|track| Some((track, described(track)?))) {
        Some((track, (codec, shape))) => walked(&walk, track, codec, shape?)?,
        None => decoded(input, listener)?,
    };
    Ok(Facts { media_type, ..facts })
}

fn decoded(input: &mut Input, listener: &mut Listener<'_>) -> Result<Facts, Refusal> {
    let sound = decode::run(input.section(0, u64::MAX)?, Container::Mp4, listener)?;
    let mut facts = sound.facts;
    // Only the header tells how much of the samples is to be heard. It is believed as far as there are samples; the header
    // of a file that is written in fragments does not tell.
    let padded = seconds(sound.frames_padded, facts.shape.sample_rate);
    facts.duration_seconds =
        sound.seconds_declared.filter(|&declared| declared > 0.0).unwrap_or(padded).min(padded);
    Ok(facts)
}

/// The codec and the shape of a track that is not decoded; `None` for other codecs.
fn described(track: &Track) -> Option<(&'static str, Result<Shape, Refusal>)> {
    let mono = |codec, sample_rate| Some((codec, Shape::new(1, sample_rate)));
    let told = |codec| Some((codec, Shape::new(track.channels, track.sample_rate)));
    match &track.codec {
        b"samr" => mono("amr_nb", 8_000),
        b"sawb" => mono("amr_wb", 16_000),
        b"sevc" => mono("evrc", 8_000),
        b"sqcp" | b"Qclp" => mono("qcelp", 8_000),
        b"agsm" => told("gsm"),
        b"alaw" => told("pcm_alaw"),
        b"ulaw" => told("pcm_mulaw"),
        b"ima4" => told("adpcm_ima_qt"),
        b"ms\0\x02" => told("adpcm_ms"),
        b"ms\0\x11" => told("adpcm_ima_wav"),
        b"ms\0\x31" => told("gsm_ms"),
        _ => None,
    }
}

/// The facts of a track by its boxes.
fn walked(walk: &Walk, track: &Track, codec: &'static str, shape: Shape) -> Result<Facts, Refusal> {
    let is_alone = walk.tracks.len() == 1;
    let (ticks, has_bytes) = match track.ticks {
        0 if is_alone => (walk.fragment_ticks, true),
        ticks => (ticks, track.sample_bytes > 0),
    };
    if ticks > 0 && !has_bytes {
        return Err(Refusal::not_audio("the recording has packets without bytes"));
    }
    if ticks == 0 || track.ticks_per_second == 0 {
        return Err(Refusal::Empty);
    }
    Ok(Facts {
        media_type: "audio/mp4",
        codec: Cow::Borrowed(codec),
        duration_seconds: seconds(ticks, track.ticks_per_second),
        shape,
        verification: Verification::HeaderOnly,
        ending: Ending::Told,
    })
}
