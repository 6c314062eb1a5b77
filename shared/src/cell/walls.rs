//! The walls of a cell, which the child builds around itself before it reads a byte of a stranger's.
//!
//! Limits of memory and processor time are set anew for each piece of work, below a hard limit that can't be raised. Beside
//! them are files, paths and connections: none can be opened, none written. A rule of Landlock that the kernel lacks is
//! left out; the limits hold everywhere.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetError, Scope,
};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::Request;
use super::budget::{ANALYSIS_TIMEOUT_MAX, MEMORY_MAX_BYTES};

/// Open files: three standard ones, the socket's copy, this room's own, the recording and its readers' copies.
const OPEN_FILES_MAX: u64 = 24;

/// Memory that may stay behind with the allocator. A child with more is worn: the next file would have less.
const LEFT_BEHIND_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Address space beyond that: allocators reserve it in pieces of 1 GiB, which take no memory until they are written.
const RESERVED_MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Processor time after which a child is worn.
const WORN_SECONDS: u64 = 600;

/// A child within its walls.
#[derive(Debug)]
pub(super) struct Walls {
    /// `/proc/self/statm`, opened while paths could still be opened.
    statm: File,
    data_at_start_bytes: u64,
}

impl Walls {
    /// Builds the walls around this process.
    ///
    /// # Errors
    /// When the system refuses a limit. Then the process must not read anything.
    pub(super) fn build() -> io::Result<Self> {
        // A parent that died just before this has closed the socket, and the child ends at the first look at it.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        let statm = File::open("/proc/self/statm")?;
        let Memory { total_bytes, data_bytes } = Memory::read(&statm)?;
        lower(Resource::Core, 0)?;
        lower(Resource::Fsize, 0)?;
        lower(Resource::Nproc, 0)?;
        lower(Resource::Nofile, OPEN_FILES_MAX)?;
        lower(Resource::Data, data_bytes + LEFT_BEHIND_MAX_BYTES + MEMORY_MAX_BYTES)?;
        lower(Resource::As, total_bytes + RESERVED_MAX_BYTES)?;
        lower(Resource::Cpu, WORN_SECONDS + ANALYSIS_TIMEOUT_MAX.as_secs() + 2)?;
        forbid_paths().map_err(io::Error::other)?;
        Ok(Self { statm, data_at_start_bytes: data_bytes })
    }

    /// Lets the next piece of work have what it was granted, beyond what the process has now.
    pub(super) fn grant(&self, request: &Request) -> io::Result<()> {
        let data_bytes = Memory::read(&self.statm)?.data_bytes;
        soften(Resource::Data, data_bytes.saturating_add(request.memory_bytes))?;
        soften(Resource::Cpu, processor_seconds().saturating_add(request.processor_seconds))
    }

    /// Whether another child should do the next work.
    pub(super) fn is_worn(&self) -> bool {
        let most_bytes = self.data_at_start_bytes + LEFT_BEHIND_MAX_BYTES;
        Memory::read(&self.statm).map_or(true, |memory| memory.data_bytes > most_bytes)
            || processor_seconds() > WORN_SECONDS
    }
}

/// Lowers a limit for good.
fn lower(resource: Resource, most: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.map_or(most, |maximum| maximum.min(most));
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// Sets a limit below the hard one.
fn soften(resource: Resource, most: u64) -> io::Result<()> {
    let maximum = getrlimit(resource).maximum;
    let most = maximum.map_or(most, |maximum| maximum.min(most));
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum })?)
}

/// No path of the file system, no TCP connection, no signal or abstract socket of another process, as far as the kernel
/// knows how to forbid them. Files that are open already stay open.
fn forbid_paths() -> Result<(), RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessNet::from_all(ABI::V5))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?
        .restrict_self()?;
    Ok(())
}

/// Processor time of this process so far, rounded up.
fn processor_seconds() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) + 1
}

/// Memory of this process.
struct Memory {
    total_bytes: u64,
    /// Writable and private, which [`Resource::Data`] limits.
    data_bytes: u64,
}

impl Memory {
    /// Reads `/proc/self/statm` (proc(5)): pages in all, and as the sixth number those of data and stack.
    fn read(statm: &File) -> io::Result<Self> {
        let mut text = [0; 256];
        let length = statm.read_at(&mut text, 0)?;
        let text = std::str::from_utf8(text.get(..length).unwrap_or_default()).unwrap_or_default();
        let page = rustix::param::page_size() as u64;
        let field = |number: usize| {
            let pages = text.split_ascii_whitespace().nth(number).and_then(|pages| pages.parse::<u64>().ok());
            pages.map(|pages| pages * page).ok_or(io::ErrorKind::InvalidData)
        };
        Ok(Self { total_bytes: field(0)?, data_bytes: field(5)? })
    }
}
