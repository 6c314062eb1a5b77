//! A clock that can be set back, for the processes that are started with it. Only the time of day is faked: what waits
//! for a while waits for as long as ever.

use std::fs;
use std::path::PathBuf;

use crate::callvine::Callvine;
use crate::process::new_directory;

/// Where Debian and Ubuntu have libfaketime: below this, in the machine's own directory.
const LIBRARIES: &str = "/usr/lib";
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The clock of one or more processes.
pub struct Clock {
    file: PathBuf,
    library: PathBuf,
}

impl Clock {
    /// A clock that is right.
    ///
    /// # Panics
    /// When libfaketime isn't installed.
    pub fn right() -> Self {
        let machines = fs::read_dir(LIBRARIES).unwrap().flatten();
        let library = machines.map(|machine| machine.path().join(LIBRARY)).find(|library| library.exists());
        let clock = Self {
            file: new_directory("clock").join("offset"),
            library: library.expect("libfaketime is not installed: run tests/setup.sh"),
        };
        clock.set("+0");
        clock
    }

    /// Sets it off by so much from now on: `-1d`, `+2h`, `+0`.
    ///
    /// # Panics
    /// When that can't be written.
    pub fn set(&self, offset: &str) {
        // Renamed, so that no process reads half of it: that would be yet another time.
        let new = self.file.with_extension("new");
        fs::write(&new, offset).unwrap();
        fs::rename(&new, &self.file).unwrap();
    }

    /// The same process, with this clock.
    #[must_use]
    pub fn on(&self, process: Callvine) -> Callvine {
        process
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            // Read each time, not once in ten seconds.
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    }
}
