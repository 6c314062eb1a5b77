//! Other processes, as `/proc` shows them (proc(5)).

use std::fs;

use rustix::process::Pid;

/// The most memory that a process has had at once, in bytes: `VmHWM`, shared pages counted in full (proc(5)).
///
/// # Panics
/// When there is no such process.
pub fn peak_memory_bytes(pid: Pid) -> u64 {
    let path = format!("/proc/{}/status", pid.as_raw_pid());
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// The children of a process, as the kernel knows them.
///
/// # Panics
/// When /proc cannot be read.
pub(crate) fn children(parent: Pid) -> Vec<Pid> {
    stats()
        .filter(|stat| stat.parent == parent.as_raw_pid())
        .filter_map(|stat| Pid::from_raw(stat.pid))
        .collect()
}

/// Whether a process has ended; one that its parent has not yet waited for counts as ended.
pub(crate) fn has_ended(pid: Pid) -> bool {
    Stat::read(&format!("/proc/{}/stat", pid.as_raw_pid())).is_none_or(|stat| stat.is_zombie)
}

/// Whether every process of a group has ended.
pub(crate) fn only_zombies(group: Pid) -> bool {
    stats().filter(|stat| stat.group == group.as_raw_pid()).all(|stat| stat.is_zombie)
}

/// The fields of a line of `/proc/PID/stat` (proc(5)) that the tests need.
struct Stat {
    pid: i32,
    is_zombie: bool,
    parent: i32,
    group: i32,
}

impl Stat {
    /// `None` when the process has gone meanwhile.
    fn read(path: &str) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let pid = text.split_once(' ')?.0.parse().ok()?;
        // The second field is the program's name in parentheses, which may contain both blanks and parentheses.
        let mut fields = text.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        Some(Self { pid, is_zombie: matches!(state, "Z" | "X"), parent, group })
    }
}

fn stats() -> impl Iterator<Item = Stat> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.parse::<u32>().ok()?;
        Stat::read(&format!("/proc/{name}/stat"))
    })
}
