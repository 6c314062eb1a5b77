//! The side of the child: reads what it is sent, until the parent closes the socket.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use callvine_audio::signal::{self, Side, Signal};
use callvine_audio::{Refusal, Waveform};
use rustix::process::nice;

use super::answer::{Answer, Sound};
use super::walls::Walls;
use super::{AnalysisOrder, Work, frame};
use crate::analysis::results::Results;
use crate::recording::Verification;
use crate::waveform;

/// By how much an analysis lowers its priority.
const GIVES_WAY: i32 = 10;

/// Serves the parent at the other end of standard input. Limits this process for good, so nothing else may run in it.
///
/// # Errors
/// When a limit can't be set, or the parent sends what is no request.
pub fn serve() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let walls = Walls::build()?;
    let mut has_given_way = false;
    while let Some((request, file)) = frame::receive_request(&socket)? {
        walls.grant(&request)?;
        let answer = match request.work {
            Work::Proof => frame::encode(&Answer::new(prove(file), walls.is_worn())),
            Work::Analysis(order) => {
                give_way(&mut has_given_way);
                frame::encode(&Answer::new(analyse(file, order), walls.is_worn()))
            }
        };
        (&socket).write_all(&answer?)?;
    }
    Ok(())
}

/// Proves that a file is audio. The waveform is only given where every sample was decoded.
fn prove(file: File) -> Result<Sound, Refusal> {
    let mut waveform = Waveform::default();
    let facts = callvine_audio::read_file(file, &mut |shape, samples| waveform.hear(shape, samples))?;
    let peaks = waveform.finish().filter(|_| facts.verification == Verification::Decoded);
    Ok(Sound::new(facts, peaks.map(|peaks| waveform::encode(&peaks)).unwrap_or_default()))
}

/// Lowers the priority of this process, once and for good: proofs of recordings, for which people wait, go first.
fn give_way(has_given_way: &mut bool) {
    if !*has_given_way {
        // Where the system refuses it, the analysis is only less polite.
        *has_given_way = nice(GIVES_WAY).is_ok();
    }
}

/// Measures what can be heard in a proved file.
fn analyse(file: File, order: AnalysisOrder) -> Result<Results, Refusal> {
    let settings = signal::Settings {
        agent: if order.agent_channel == 1 { Side::Right } else { Side::Left },
        keeps_digits: order.keeps_digits,
        call_seconds: Some(f64::from(order.call_seconds)),
        analyzer: concat!("callvine/", env!("CARGO_PKG_VERSION")).to_owned(),
        is_thorough: false,
    };
    let mut signal = Signal::new(settings);
    let facts = callvine_audio::read_file(file, &mut |shape, samples| signal.hear(shape, samples))?;
    Ok(signal.finish(&facts))
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use super::*;

    #[test]
    fn a_file_is_proved_wherever_its_position_is() {
        let mut file = tempfile::tempfile().unwrap();
        let header = [b"RIFF\x24\x3f\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".as_slice(), &8000_u32.to_le_bytes()];
        file.write_all(&header.concat()).unwrap();
        file.write_all(&[&16000_u32.to_le_bytes()[..], b"\x02\0\x10\0data\0\x3f\0\0"].concat()).unwrap();
        file.write_all(&[1; 0x3f00]).unwrap();
        let sound = prove(file.try_clone().unwrap()).unwrap();
        assert_eq!((sound.codec.as_str(), sound.channels, sound.sample_rate), ("pcm_s16le", 1, 8000));
        assert!(sound.waveform().is_some());
        file.seek(io::SeekFrom::End(0)).unwrap();
        assert_eq!(prove(file).unwrap(), sound);
        assert!(matches!(prove(tempfile::tempfile().unwrap()), Err(Refusal::NotAudio(_))));
    }
}
