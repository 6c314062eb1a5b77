//! Measures the worker and `curl --parallel`, which fetch the same recordings from one nginx to the same disk.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use harness::{Process, free_port, new_directory, telephone_sound};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::bodies::Bodies;
use crate::instance::Instance;
use crate::load::{self, Loaded, Target};
use crate::results::Measures;
use crate::server;
use crate::stage::Stage;
use crate::subject::Subject;
use crate::watch::{Seen, Watch};

/// The recordings of a run: 8 kHz A-law, with one byte a sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recordings {
    /// Number of recordings, a multiple of [`POSTING`].
    pub(crate) count: u32,
    /// Length of each recording.
    pub(crate) sound_seconds: u64,
    /// Recordings fetched at once, by curl or by the worker.
    pub(crate) at_once: u32,
}

/// Seconds of a recording of 1 MB.
pub(crate) const USUAL_SECONDS: u64 = 131;

/// Seconds of a recording of 200 MB, which are seven hours.
pub(crate) const LARGE_SECONDS: u64 = 26_214;

/// Connections that calls are posted over, so that all recordings wait soon.
pub(crate) const POSTING: u32 = 64;

/// Limit for the first recording to be kept, beside the time for its bytes.
const FIRST_DEADLINE: Duration = Duration::from_secs(20);

/// Time between two looks at the number of kept recordings.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The slowest worker that is waited for; one that keeps less is broken.
const BYTES_PER_SECOND_MIN: u64 = 20_000_000;

impl Recordings {
    /// Bytes of each recording.
    const fn bytes(self) -> u64 {
        self.sound_seconds * 8000 + 44
    }
}

/// nginx with one recording, which it serves under every name.
struct Origin {
    process: Process,
    directory: PathBuf,
    url: String,
}

impl Origin {
    async fn start(sound_seconds: u64) -> anyhow::Result<Self> {
        let directory = new_directory("origin");
        let port = free_port();
        fs::write(directory.join("recording.wav"), telephone_sound(sound_seconds))?;
        fs::write(directory.join("nginx.conf"), configuration(&directory.display().to_string(), port))?;
        let mut command = Command::new(server::NGINX);
        command.arg("-p").arg(&directory).arg("-e").arg(directory.join("error.log"));
        command.arg("-c").arg(directory.join("nginx.conf"));
        let listens = async || TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        let process = server::start(command, (&directory, "nginx"), listens).await?;
        Ok(Self { process, directory, url: format!("http://127.0.0.1:{port}") })
    }

    fn stop(mut self) -> anyhow::Result<()> {
        self.process.kill();
        fs::remove_dir_all(&self.directory).context("cannot remove nginx's directory")
    }
}

/// nginx as installed, but with a directory of its own and without a log, which would go to the disk that is measured.
fn configuration(directory: &str, port: u16) -> String {
    format!(
        "user root;\ndaemon off;\nworker_processes 1;\npid {directory}/nginx.pid;\n\
         events {{}}\n\
         http {{\n\
         access_log off;\nsendfile on;\ntypes {{ audio/wav wav; }}\n\
         client_body_temp_path {directory}/body;\nproxy_temp_path {directory}/proxy;\n\
         fastcgi_temp_path {directory}/fastcgi;\nuwsgi_temp_path {directory}/uwsgi;\nscgi_temp_path {directory}/scgi;\n\
         server {{ listen 127.0.0.1:{port}; root {directory}; rewrite ^ /recording.wav break; }}\n\
         }}\n"
    )
}

/// Fetches the recordings, and proves that all of them are kept.
pub(crate) async fn run(stage: &Stage, subject: Subject, recordings: Recordings) -> anyhow::Result<Measures> {
    let origin = Origin::start(recordings.sound_seconds).await?;
    stage.checkpoint().await?;
    let measured = match subject {
        Subject::Curl => curl(stage, &origin, recordings).await,
        _ => worker(stage, subject, &origin, recordings).await,
    };
    let measures = measured.with_context(|| format!("cannot measure {}", subject.title()))?;
    origin.stop()?;
    Ok(measures)
}

async fn curl(stage: &Stage, origin: &Origin, recordings: Recordings) -> anyhow::Result<Measures> {
    let directory = new_directory("curl");
    let mut list = String::new();
    for number in 0..recordings.count {
        // Writing to a string cannot fail.
        writeln!(list, "url={}/{number}.wav\noutput={}/{number}.wav", origin.url, directory.display())
            .unwrap_or_default();
    }
    let config = directory.join("config");
    fs::write(&config, list)?;
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--parallel", "--parallel-max"]);
    command.arg(recordings.at_once.to_string()).arg("--config").arg(&config);
    let watch = Watch::begin(&[])?;
    let began_at = Instant::now();
    load::output_of(command).await?;
    let seconds = began_at.elapsed().as_secs_f64();
    let loaded = Loaded { calls: u64::from(recordings.count), failures: 0, seconds, latency: None };
    let measures = watch.end(stage, loaded, Seen::default())?;
    fs::remove_file(&config)?;
    let mut whole = 0;
    for entry in fs::read_dir(&directory)? {
        ensure!(entry?.metadata()?.len() == recordings.bytes(), "curl has kept half a recording");
        whole += 1;
    }
    ensure!(whole == recordings.count, "curl has kept {whole} of {} recordings", recordings.count);
    fs::remove_dir_all(&directory)?;
    Ok(measures)
}

async fn worker(
    stage: &Stage,
    subject: Subject,
    origin: &Origin,
    recordings: Recordings,
) -> anyhow::Result<Measures> {
    let mut instance = Instance::fetching(stage, subject, recordings.at_once).await?;
    let bodies = Bodies::of_recordings(&origin.url, &stage.directory)?;
    let (url, key) = (instance.url.clone(), instance.key.clone());
    let target =
        Target { url: &url, key: &key, bodies: &bodies, connections: POSTING, numbered_header: None };
    // The first recording is not counted: it opens connections and makes tables and directories.
    load::raw::probe(target).await?;
    let deadline =
        |count: u64| FIRST_DEADLINE + Duration::from_secs(count * recordings.bytes() / BYTES_PER_SECOND_MIN);
    kept(&mut instance, 1, deadline(1)).await?;

    let count = recordings.count;
    let watch = Watch::begin(&[instance.worker_pid()])?;
    let fetch = async {
        let began_at = Instant::now();
        let posted = load::raw::burst(target, count).await?;
        ensure!(posted.calls == u64::from(count), "{} of {count} calls were answered 201", posted.calls);
        let all = u64::from(count) + 1;
        kept(&mut instance, all, deadline(all)).await?;
        let seconds = began_at.elapsed().as_secs_f64();
        Ok(Loaded { calls: posted.calls, failures: 0, seconds, latency: None })
    };
    let (loaded, server_mib) = watch.while_loaded(fetch).await?;
    let measures = watch.end(stage, loaded, Seen { server_mib, confirms: None })?;
    instance.check()?;
    instance.remove(stage).await?;
    Ok(measures)
}

/// Waits until this many recordings are kept.
async fn kept(instance: &mut Instance, recordings: u64, patience: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ledger = instance.ledger.as_mut().context("the subject has no database")?;
    loop {
        looks.tick().await;
        let (stored, failed) = ledger.recordings().await?;
        ensure!(failed == 0, "{failed} recordings were given up");
        if stored >= recordings {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("only {stored} of {recordings} recordings were kept in time");
        }
    }
}
