//! Fault after fault, drawn at random, under `up`: the process, its disk, its clock and its queue.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use harness::{Callvine, Clock, Database, Volume, new_directory};
use tokio::time::sleep;

use crate::chance::Chance;
use crate::embedded::Embedded;
use crate::minutes;
use crate::outage::harm_until_refused;
use crate::report::{Engine, Recoveries};
use crate::storm::{FAULTS, FAULTS_LONG};

/// Room for SQLite's files of one round.
const VOLUME_BYTES: usize = 96 * 1024 * 1024;
/// The disk is full for up to so long.
const LONGEST_FULL_MS: usize = 5_000;
/// Where the clock jumps to. Any two are further apart than the hour that a retry may wait: a shorter jump can't be
/// told from a retry.
const OFFSETS: [&str; 4] = ["-1d", "+3h", "-2d", "+0"];

/// A fault of the storm.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Killed,
    Stopped,
    DiskFull,
    ClockJumps,
    /// Beside the process, which is killed for it.
    QueueEmptied,
}

/// The process is what fails most.
const ALL: [Fault; 6] =
    [Fault::Killed, Fault::Killed, Fault::Stopped, Fault::DiskFull, Fault::ClockJumps, Fault::QueueEmptied];

/// One round's process, and what can be done to it.
struct Storm {
    embedded: Embedded,
    volume: Arc<Volume>,
    clock: Arc<Clock>,
}

#[tokio::test]
async fn fault_after_fault_under_up_loses_nothing() {
    let mut chance = Chance::new("storm, up");
    let mut recoveries = Recoveries::new(Engine::Embedded, "storm, up");
    loop {
        let recordings = new_directory("recordings");
        let url = url::Url::from_directory_path(&recordings).unwrap();
        let mut storm = Storm::start(url.as_str().to_owned()).await;
        let traffic = storm.embedded.traffic();
        for number in 0..FAULTS_LONG {
            if number >= FAULTS && minutes::are_over() {
                break;
            }
            chance.moment(&storm.embedded.provider).await;
            let fault = *ALL.get(chance.number(0..ALL.len())).unwrap();
            println!("storm, up: {fault:?}");
            storm.strike(fault, &mut chance).await;
            recoveries.note(&format!("{fault:?}"), &storm.embedded.provider).await;
        }
        chance.moment(&storm.embedded.provider).await;
        traffic.stop().await;
        storm.embedded.finish(&format!("storm, up, after {} faults", recoveries.count())).await;
        fs::remove_dir_all(recordings).unwrap();
        if minutes::are_over() {
            return recoveries.say();
        }
    }
}

impl Storm {
    async fn start(recordings_url: String) -> Self {
        let volume = Arc::new(Volume::mount(VOLUME_BYTES).await);
        let clock = Arc::new(Clock::right());
        let (inside, its_clock) = (Arc::clone(&volume), Arc::clone(&clock));
        let adapt = Box::new(move |command: Callvine| {
            let command = command
                .inside(&inside)
                .env("CALLVINE_DATA_DIR", inside.path().join("callvine-data"))
                .env("CALLVINE_RECORDINGS_URL", &recordings_url)
                .env("CALLVINE_REQUEUE_AFTER", "2s");
            its_clock.on(command)
        });
        let embedded = Embedded::start_with(Database::on_volume(&volume), adapt).await;
        Self { embedded, volume, clock }
    }

    /// Does harm, and undoes it; but the clock stays as it is until the next jump.
    async fn strike(&mut self, fault: Fault, chance: &mut Chance) {
        match fault {
            Fault::Killed => self.embedded.kill(),
            Fault::Stopped => self.embedded.stop().await,
            Fault::DiskFull => {
                harm_until_refused(&self.embedded.provider, || self.volume.fill()).await;
                let full_ms = u64::try_from(chance.number(0..LONGEST_FULL_MS)).unwrap();
                sleep(Duration::from_millis(full_ms)).await;
                self.volume.free();
            }
            Fault::ClockJumps => self.clock.set(OFFSETS.get(chance.number(0..OFFSETS.len())).unwrap()),
            Fault::QueueEmptied => {
                self.embedded.kill();
                let emptied = "delete from deliveries where queue = 'callvine.recordings'";
                self.embedded.database.execute(emptied).await;
            }
        }
        if self.embedded.process.is_none() {
            self.embedded.restart().await;
        }
    }
}
