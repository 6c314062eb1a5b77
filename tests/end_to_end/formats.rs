//! Every format that telephone systems record in goes all the way, and is described as ffprobe describes it.

use std::path::Path;
use std::process::Command;

use harness::{Answer, Origin};
use serde_json::{Value, json};

use crate::site::{Engine, on_both_engines};

on_both_engines!(every_format_is_stored_and_described_as_it_is, wide_amr_is_stored_and_described_as_it_is);

/// A prompt of half a minute, and a short one.
const LONG: &str = "/usr/share/asterisk/sounds/en_US_f_Allison/demo-congrats.wav";
const SHORT: &str = "/usr/share/asterisk/sounds/en_US_f_Allison/agent-pass.wav";

/// Farthest that a duration may be from ffprobe's, in seconds.
const TOLERANCE: f64 = 0.020;

/// Name, media type, whether its samples are decoded, and how it is made of the prompts.
const FORMATS: [(&str, &str, &str, &str); 34] = [
    ("pcm.wav", "audio/wav", "decoded", "sox LONG OUT"),
    ("pcm8.wav", "audio/wav", "decoded", "sox LONG -b 8 OUT"),
    ("pcm24.wav", "audio/wav", "decoded", "sox LONG -b 24 OUT"),
    ("stereo.wav", "audio/wav", "decoded", "sox -M LONG SHORT OUT"),
    ("cd.wav", "audio/wav", "decoded", "sox LONG -r 44100 -c 2 OUT"),
    ("float.wav", "audio/wav", "decoded", "sox LONG -e floating-point -b 32 OUT"),
    ("pcm32.wav", "audio/wav", "decoded", "sox LONG -b 32 OUT"),
    ("double.wav", "audio/wav", "decoded", "ffmpeg -v error -i LONG -c:a pcm_f64le OUT"),
    // Written to a pipe: its sizes were never filled in.
    ("streamed.wav", "audio/wav", "decoded", "sh -c ffmpeg§-v§error§-i§LONG§-f§wav§-§|§cat§>§OUT"),
    ("alaw.wav", "audio/wav", "decoded", "sox LONG -e a-law OUT"),
    ("ulaw.wav", "audio/wav", "decoded", "sox -M LONG SHORT -e mu-law OUT"),
    ("ima.wav", "audio/wav", "decoded", "sox LONG -e ima-adpcm OUT"),
    ("ms.wav", "audio/wav", "decoded", "sox LONG -e ms-adpcm OUT"),
    ("gsm.wav", "audio/wav", "header_only", "sox LONG -e gsm-full-rate OUT"),
    ("g726.wav", "audio/wav", "header_only", "ffmpeg -v error -i LONG -c:a g726 OUT"),
    ("rf64.wav", "audio/wav", "decoded", "ffmpeg -v error -i LONG -rf64 always OUT"),
    ("mp3.wav", "audio/wav", "decoded", "ffmpeg -v error -i LONG -c:a libmp3lame OUT"),
    ("mono.mp3", "audio/mpeg", "decoded", "sox LONG OUT"),
    ("bare.mp3", "audio/mpeg", "decoded", "ffmpeg -v error -i LONG -write_xing 0 -id3v2_version 0 OUT"),
    ("layer2.mp2", "audio/mpeg", "decoded", "ffmpeg -v error -i LONG -ar 16000 OUT"),
    ("stereo.mp3", "audio/mpeg", "decoded", "sox -M LONG SHORT -r 44100 OUT"),
    ("vorbis.ogg", "audio/ogg", "decoded", "sox LONG OUT"),
    ("flac.oga", "audio/ogg", "decoded", "ffmpeg -v error -i LONG -c:a flac OUT"),
    ("opus.opus", "audio/ogg", "header_only", "ffmpeg -v error -i LONG OUT"),
    ("speex.spx", "audio/ogg", "header_only", "ffmpeg -v error -i LONG -c:a libspeex OUT"),
    ("flac.flac", "audio/flac", "decoded", "sox -M LONG SHORT OUT"),
    ("aiff.aiff", "audio/aiff", "decoded", "sox LONG OUT"),
    ("alaw.aifc", "audio/aiff", "decoded", "ffmpeg -v error -i LONG -c:a pcm_alaw -f aiff OUT"),
    ("aac.m4a", "audio/mp4", "decoded", "ffmpeg -v error -i LONG OUT"),
    (
        "streamed.m4a",
        "audio/mp4",
        "decoded",
        "ffmpeg -v error -i LONG -movflags frag_keyframe+empty_moov OUT",
    ),
    ("bare.aac", "audio/aac", "decoded", "ffmpeg -v error -i LONG OUT"),
    ("opus.mp4", "audio/mp4", "header_only", "ffmpeg -v error -i LONG -c:a libopus OUT"),
    ("alac.m4a", "audio/mp4", "header_only", "ffmpeg -v error -i LONG -c:a alac OUT"),
    ("narrow.amr-nb", "audio/amr", "header_only", "sox LONG OUT"),
];

fn make(path: &Path, command: &str) {
    let path = path.to_str().unwrap();
    let named = |word: &str| match word {
        "LONG" => LONG.to_owned(),
        "SHORT" => SHORT.to_owned(),
        "OUT" => path.to_owned(),
        word => word.to_owned(),
    };
    // A word for a shell has words of its own.
    let words = command.split(' ').map(|word| word.split('§').map(named).collect::<Vec<_>>().join(" "));
    let words: Vec<String> = words.collect();
    let output = Command::new(&words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The facts that ffprobe finds: codec, channels, sample rate, duration.
fn probed(path: &Path) -> (String, i64, i64, f64) {
    let entries = "stream=codec_name,sample_rate,channels,duration:format=duration";
    let arguments = ["-v", "error", "-of", "json", "-show_entries", entries];
    let output = Command::new("ffprobe").args(arguments).arg(path).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let stream = &said["streams"][0];
    let duration = stream["duration"].as_str().or(said["format"]["duration"].as_str()).unwrap();
    let rate = stream["sample_rate"].as_str().unwrap();
    let codec = stream["codec_name"].as_str().unwrap().to_owned();
    let mut duration: f64 = duration.parse().unwrap();
    if codec == "amr_nb" {
        // ffprobe guesses it by the first frames; soxi counts.
        let counted = Command::new("soxi").arg("-D").arg(path).output().unwrap();
        duration = String::from_utf8(counted.stdout).unwrap().trim().parse().unwrap();
    }
    if path.extension().is_some_and(|extension| extension == "aac") {
        // Bare AAC has no length anywhere, and ffprobe guesses: its frames, of 1,024 samples, are counted.
        let entries =
            ["-v", "error", "-count_packets", "-of", "csv=p=0", "-show_entries", "stream=nb_read_packets"];
        let counted = Command::new("ffprobe").args(entries).arg(path).output().unwrap();
        let packets: f64 = String::from_utf8(counted.stdout).unwrap().trim().parse().unwrap();
        duration = packets * 1024.0 / rate.parse::<f64>().unwrap();
    }
    (codec, stream["channels"].as_i64().unwrap(), rate.parse().unwrap(), duration)
}

/// Half a second of AMR-WB, which no tool here writes: frames of 20 ms in mode 0, with 17 bytes each (RFC 4867, 5.3).
fn wide_amr() -> Vec<u8> {
    let frame: Vec<u8> = std::iter::once(0x04).chain([0x55; 17]).collect();
    [b"#!AMR-WB\n".to_vec(), frame.repeat(25)].concat()
}

async fn wide_amr_is_stored_and_described_as_it_is(engine: Engine) {
    let origin = Origin::start().await;
    let site = engine.up(&[("CALLVINE_FETCH_ATTEMPTS", "1")]).await;
    let ids = site.post(&[origin.serve("/call.awb", Answer::body("text/plain", wide_amr()))]).await;
    let recording = site.settled(ids[0]).await;
    let fields = ["media_type", "codec", "channels", "sample_rate", "duration_seconds"];
    let said = fields.map(|field| recording[field].clone());
    assert_eq!(json!(said), json!(["audio/amr-wb", "amr_wb", 1, 16_000, 0.5]), "{recording}");
    let (how, waveform) = site.engine.database().proof(ids[0]).await;
    assert_eq!((how.as_deref(), waveform), (Some("header_only"), None));
    site.stop().await;
}

async fn every_format_is_stored_and_described_as_it_is(engine: Engine) {
    let directory = tempfile::tempdir().unwrap();
    let origin = Origin::start().await;
    let mut urls = Vec::new();
    for (name, _, _, command) in FORMATS {
        let path = directory.path().join(name);
        make(&path, command);
        // Nothing of what a host says of it counts.
        let answer = Answer::body("application/octet-stream", std::fs::read(&path).unwrap());
        urls.push(origin.serve(&format!("/{name}.bin"), answer));
    }
    let database = engine.database();
    let site = engine.up(&[("CALLVINE_FETCH_ATTEMPTS", "1")]).await;
    let ids = site.post(&urls).await;
    let recordings = site.all_settled(&ids).await;
    for ((name, media_type, verification, _), (id, recording)) in
        FORMATS.into_iter().zip(ids.iter().zip(&recordings))
    {
        let path = directory.path().join(name);
        let (codec, channels, rate, duration) = probed(&path);
        assert_eq!(recording["status"], "stored", "{name}: {recording}");
        let said = json!([
            recording["media_type"],
            recording["codec"],
            recording["channels"],
            recording["sample_rate"]
        ]);
        assert_eq!(said, json!([media_type, codec, channels, rate]), "{name}");
        let said = recording["duration_seconds"].as_f64().unwrap();
        assert!((said - duration).abs() <= TOLERANCE, "{name}: {said} s, and ffprobe says {duration} s");
        assert_eq!(recording["size"], std::fs::metadata(&path).unwrap().len(), "{name}");
        let kept = url::Url::parse(recording["location"].as_str().unwrap()).unwrap().to_file_path().unwrap();
        assert_eq!(std::fs::read(kept).unwrap(), std::fs::read(&path).unwrap(), "{name}");
        let (how, waveform) = database.proof(*id).await;
        assert_eq!(how.as_deref(), Some(verification), "{name}");
        // Version, channels, pieces, and two bytes a piece and channel.
        let bytes = (verification == "decoded").then(|| 4 + 2 * 1000 * usize::try_from(channels).unwrap());
        assert_eq!(waveform.as_ref().map(Vec::len), bytes, "{name}");
        assert!(
            waveform.is_none_or(|peaks| peaks[4..].iter().any(|peak| *peak != 0)),
            "{name} is not silent"
        );
    }
    site.stop().await;
}
