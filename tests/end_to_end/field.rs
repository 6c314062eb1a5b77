//! Recordings as the field sends them: with headers that are wrong, in containers that are seldom met, before they are ready.
//!
//! "PCM" is four seconds of 8 kHz, 16 bits, one channel: 64,000 bytes.

use std::path::Path;
use std::process::Command;

use harness::{Answer, Origin, wav_file};
use serde_json::{Value, json};

use crate::site::{Engine, Site, on_both_engines};

on_both_engines!(
    recordings_with_faults_are_stored_with_the_right_facts,
    what_is_no_audio_is_named,
    a_host_that_is_not_ready_is_asked_again,
    a_recording_that_is_still_being_written_is_stored_when_it_is_whole,
);

/// Quick attempts; all origins are one host.
const SETTINGS: [(&str, &str); 3] =
    [("CALLVINE_FETCH_ATTEMPTS", "3"), ("CALLVINE_FETCH_BACKOFF", "20ms"), ("CALLVINE_FETCH_PER_HOST", "32")];

/// Farthest that a duration may be off, in seconds.
const TOLERANCE: f64 = 0.015;

/// A file with its facts: codec, seconds, and the number of attempts.
type Case = (&'static str, Vec<u8>, &'static str, f64, u64);

/// Runs a shell's script in a folder that has four seconds of PCM as `in.wav`; the file `out`.
fn made(script: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("in.wav"), pcm(64_000, 64_000)).unwrap();
    let output =
        Command::new("sh").args(["-e", "-c", script]).current_dir(directory.path()).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(directory.path().join("out")).unwrap()
}

/// PCM of so many bytes, with a header that promises others.
fn pcm(promised: u32, bytes: usize) -> Vec<u8> {
    wav_file([1, 1, 2, 16], promised, bytes)
}

fn opus() -> Vec<u8> {
    made("ffmpeg -v error -i in.wav -c:a libopus -f ogg out")
}

/// The file with every position of a page of sound changed.
fn with_positions(mut ogg: Vec<u8>, change: impl Fn(u64) -> u64) -> Vec<u8> {
    let mut at = 0;
    while at < ogg.len() {
        let position = u64::from_le_bytes(ogg[at + 6..at + 14].try_into().unwrap());
        if position != 0 {
            ogg[at + 6..at + 14].copy_from_slice(&change(position).to_le_bytes());
        }
        let segments = usize::from(ogg[at + 26]);
        let body: usize = ogg[at + 27..at + 27 + segments].iter().map(|size| usize::from(*size)).sum();
        at += 27 + segments + body;
    }
    ogg
}

/// The first page of a stream of Skeleton.
fn skeleton() -> Vec<u8> {
    [&b"OggS\0\x02"[..], &[0; 8], b"SKEL", &[0; 8], &[1, 8], b"fishead\0"].concat()
}

/// An `ID3v2` tag of a hundred bytes.
fn tag() -> Vec<u8> {
    [&b"ID3\x04\0\0\0\0\0\x64"[..], &[0; 100]].concat()
}

fn table() -> Vec<Case> {
    let oki = |tag| wav_file([tag, 1, 1, 4], 16_000, 16_000);
    let mp3 = made("ffmpeg -v error -i in.wav -ar 16000 -b:a 32k -write_xing 0 -id3v2_version 0 -f mp3 out");
    // 114 packets of 36 ms.
    let mp3_seconds = f64::from(u32::try_from(mp3.len() / 144).unwrap()) * 0.036;
    let gsm = "sox in.wav -t gsm out";
    let amr = "sox in.wav -t amr-nb a; ffmpeg -v error -f amr -i a -c copy";
    vec![
        ("44 too many", pcm(64_044, 64_000), "pcm_s16le", 4.0, 1),
        ("16 too many", pcm(64_016, 64_000), "pcm_s16le", 4.0, 1),
        ("blocks of 1", wav_file([1, 1, 1, 16], 64_000, 64_000), "pcm_s16le", 4.0, 1),
        ("blocks of 16", wav_file([1, 1, 16, 16], 64_000, 64_000), "pcm_s16le", 4.0, 1),
        ("20 bits", wav_file([1, 1, 3, 20], 96_000, 96_000), "pcm_s24le", 4.0, 1),
        ("Oki", oki(0x10), "adpcm_ima_oki", 4.0, 1),
        ("Dialogic", oki(0x17), "adpcm_ima_oki", 4.0, 1),
        ("NMS", oki(0x38), "adpcm_nms", 4.0, 1),
        ("sizes of 0", pcm(0, 64_000), "pcm_s16le", 4.0, 2),
        ("WebM", made("ffmpeg -v error -i in.wav -c:a libopus -f webm out"), "opus", 4.0, 1),
        (
            "a stream of WebM",
            made("ffmpeg -v error -i in.wav -c:a libopus -f webm - | cat > out"),
            "opus",
            4.0,
            2,
        ),
        ("Matroska", made("ffmpeg -v error -i in.wav -c:a libopus -f matroska out"), "opus", 4.0, 1),
        ("3GP", made(&format!("{amr} -f 3gp out")), "amr_nb", 4.0, 1),
        ("3GPP2", made(&format!("{amr} -f 3g2 out")), "amr_nb", 4.0, 1),
        (
            "A-law in QuickTime",
            made("ffmpeg -v error -i in.wav -c:a pcm_alaw -f mov out"),
            "pcm_alaw",
            4.0,
            1,
        ),
        ("positions of 28,800,000 on", with_positions(opus(), |at| at + 28_800_000), "opus", 4.0, 1),
        ("positions of 0", with_positions(opus(), |_| 0), "opus", 4.0, 1),
        ("two streams", [opus(), opus()].concat(), "opus", 8.0, 1),
        ("zeros behind", [opus(), vec![0; 1000]].concat(), "opus", 4.0, 1),
        ("Skeleton before", [skeleton(), opus()].concat(), "opus", 4.0, 1),
        ("two tags", [tag(), tag(), mp3.clone()].concat(), "mp3", mp3_seconds, 1),
        ("junk before", [vec![0x11; 100], mp3.clone()].concat(), "mp3", mp3_seconds, 1),
        ("the middle of a frame", mp3[50..].to_vec(), "mp3", mp3_seconds - 0.036, 1),
        ("Sun audio", made("sox in.wav -e mu-law -t au out"), "pcm_mulaw", 4.0, 1),
        ("bare GSM", made(gsm), "gsm", 4.0, 1),
    ]
}

async fn recordings_with_faults_are_stored_with_the_right_facts(engine: Engine) {
    let (origin, site) = (Origin::start().await, engine.up(&SETTINGS).await);
    let cases = table();
    let serve = |(number, case): (usize, &Case)| {
        origin.serve(&format!("/{number}"), Answer::body("application/octet-stream", case.1.clone()))
    };
    let urls: Vec<String> = cases.iter().enumerate().map(serve).collect();
    let ids = site.post(&urls).await;
    for ((case, bytes, codec, seconds, attempts), recording) in cases.iter().zip(site.all_settled(&ids).await)
    {
        let said = json!([recording["status"], recording["codec"], recording["attempts"], recording["size"]]);
        assert_eq!(said, json!(["stored", codec, attempts, bytes.len()]), "{case}: {recording}");
        let duration = recording["duration_seconds"].as_f64().unwrap();
        assert!((duration - seconds).abs() <= TOLERANCE, "{case}: {duration} s, not {seconds} s");
    }
    site.stop().await;
}

async fn what_is_no_audio_is_named(engine: Engine) {
    let (origin, site) = (Origin::start().await, engine.up(&SETTINGS).await);
    let cases = [
        (made("tar -cf out in.wav"), "not_audio", "tar", 1),
        (b"#EXTM3U\nhttp://127.0.0.1/1.ts\n".to_vec(), "not_audio", "M3U8", 1),
        (b"%PDF-1.7\n".to_vec(), "not_audio", "PDF", 1),
        (b"the recording has expired".to_vec(), "not_audio", "plain text", 3),
        (b"<html>Sign in</html>".to_vec(), "not_audio", "sign in", 3),
        (b"{\"status\":\"processing\"}".to_vec(), "not_audio", "JSON", 3),
        (vec![0xff, 0xfb, 0x90, 0x64, 0, 0, 0, 0], "not_audio", "MPEG", 1),
        (tag(), "empty", "no sound", 3),
        (pcm(64_000, 32_000), "truncated", "promises more", 3),
        (wav_file([0x1234, 1, 1, 8], 8_000, 8_000), "not_audio", "0x1234", 1),
    ];
    let serve = |(number, (bytes, ..)): (usize, &(Vec<u8>, &str, &str, u64))| {
        origin.serve(&format!("/{number}"), Answer::wav(bytes.clone()))
    };
    let urls: Vec<String> = cases.iter().enumerate().map(serve).collect();
    let ids = site.post(&urls).await;
    for ((_, reason, name, attempts), recording) in cases.iter().zip(site.all_settled(&ids).await) {
        let said = json!([recording["status"], recording["reason"], recording["attempts"]]);
        assert_eq!(said, json!(["failed", reason, attempts]), "{recording}");
        assert!(recording["last_error"].as_str().unwrap().contains(name), "{name}: {recording}");
    }
    site.stop().await;
}

async fn a_host_that_is_not_ready_is_asked_again(engine: Engine) {
    let (origin, site) = (Origin::start().await, engine.up(&SETTINGS).await);
    let whole = Answer::wav(pcm(64_000, 64_000));
    let words = [
        Answer::Json { status: 200, text: r#"{"status":"processing"}"#.to_owned() },
        Answer::body("text/html", "<!DOCTYPE html><html><body>Please wait</body></html>"),
        Answer::body("audio/wav", "please wait"),
    ];
    let urls: Vec<String> = words
        .into_iter()
        .enumerate()
        .map(|(number, word)| origin.serve_in_turn(&format!("/{number}"), vec![word], whole.clone()))
        .collect();
    let ids = site.post(&urls).await;
    for recording in site.all_settled(&ids).await {
        assert_is_whole(&recording, 2);
    }
    site.stop().await;
}

async fn a_recording_that_is_still_being_written_is_stored_when_it_is_whole(engine: Engine) {
    let origin = Origin::start().await;
    let whole = Answer::wav(pcm(64_000, 64_000));
    let part = |bytes| Answer::wav(pcm(0, bytes));
    let growing = |path: &str, parts: &[usize], last: Answer| {
        origin.serve_in_turn(path, parts.iter().map(|bytes| part(*bytes)).collect(), last)
    };
    let urls = [
        growing("/thirds", &[21_334, 42_666], whole.clone()),
        growing("/same", &[64_000], part(64_000)),
        growing("/grown", &[42_666], part(64_000)),
    ];
    let site = engine.up(&SETTINGS).await;
    let ids = site.post(&urls).await;
    assert_is_whole(&site.settled(ids[0]).await, 3);
    assert_is_whole(&site.settled(ids[1]).await, 2);
    assert_is_whole(&site.settled(ids[2]).await, 3);

    // Even the last attempt is followed by a look; one that grows for ever is given up.
    let site = restarted(site, "1").await;
    let endless: Vec<usize> = (1..20).map(|tenth| tenth * 1000).collect();
    let urls =
        [growing("/last", &[64_000], part(64_000)), growing("/endless", &endless, Answer::Status(500))];
    let ids = site.post(&urls).await;
    assert_is_whole(&site.settled(ids[0]).await, 2);
    let given_up = site.settled(ids[1]).await;
    let said = json!([given_up["status"], given_up["reason"], given_up["attempts"]]);
    assert_eq!(said, json!(["failed", "truncated", 2]), "{given_up}");
    site.stop().await;
}

async fn restarted(site: Site, attempts: &str) -> Site {
    let settings = [("CALLVINE_FETCH_ATTEMPTS", attempts), ("CALLVINE_FETCH_BACKOFF", "20ms")];
    site.stop().await.up(&settings).await
}

#[track_caller]
fn assert_is_whole(recording: &Value, attempts: u64) {
    let said = json!([recording["status"], recording["duration_seconds"], recording["attempts"]]);
    assert_eq!(said, json!(["stored", 4.0, attempts]), "{recording}");
    let kept = url::Url::parse(recording["location"].as_str().unwrap()).unwrap().to_file_path().unwrap();
    assert_eq!(std::fs::metadata(Path::new(&kept)).unwrap().len(), 64_044);
}
