//! Processor time and memory from the kernel's `/proc` (proc(5)).

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context as _;

/// Kibibytes in a mebibyte.
const KIB_PER_MIB: f64 = 1024.0;

/// The processor time of every process at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    processes: BTreeMap<i32, Times>,
    machine: Machine,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    parent: i32,
    own_ticks: u64,
    /// Ticks of children that have ended and were waited for, with their own such children.
    waited_for_ticks: u64,
}

/// Ticks of all processors together, since the machine started.
#[derive(Clone, Copy, Debug, Default)]
struct Machine {
    busy: u64,
    stolen: u64,
    all: u64,
}

/// The use of the machine between two snapshots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MachineUse {
    /// Processor seconds, interrupts included.
    pub(crate) busy_seconds: f64,
    /// Processors that were busy on average.
    pub(crate) busy_cores: f64,
    /// Share of the time that the hypervisor gave to other machines, from 0 to 1.
    pub(crate) stolen: f64,
}

impl Snapshot {
    /// Reads the times of all processes now.
    pub(crate) fn take() -> anyhow::Result<Self> {
        let mut processes = BTreeMap::new();
        for entry in fs::read_dir("/proc").context("cannot read /proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            // A process that ends meanwhile has no file.
            if let Some(times) =
                fs::read_to_string(format!("/proc/{pid}/stat")).ok().as_deref().and_then(times)
            {
                processes.insert(pid, times);
            }
        }
        let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        Ok(Self { processes, machine: machine(&stat).context("/proc/stat is not as expected")? })
    }

    /// Processor seconds of a process and of all below it, with those that have ended.
    pub(crate) fn tree_seconds(&self, root: i32) -> f64 {
        let of =
            |pid: &i32| self.processes.get(pid).map_or(0, |times| times.own_ticks + times.waited_for_ticks);
        seconds(self.tree(root).iter().map(of).sum())
    }

    /// Processor seconds of a process and of the children that it has waited for, without those that still run.
    pub(crate) fn waited_for_seconds(&self, pid: i32) -> f64 {
        seconds(self.processes.get(&pid).map_or(0, |times| times.own_ticks + times.waited_for_ticks))
    }

    /// The use of the machine since an earlier snapshot.
    pub(crate) fn machine_since(&self, earlier: &Self) -> MachineUse {
        let since = |of: fn(&Machine) -> u64| of(&self.machine).saturating_sub(of(&earlier.machine)) as f64;
        let (busy, all) = (since(|machine| machine.busy), since(|machine| machine.all).max(1.0));
        let cores = std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64);
        MachineUse {
            busy_seconds: busy / ticks_per_second(),
            busy_cores: busy / all * cores,
            stolen: since(|machine| machine.stolen) / all,
        }
    }

    /// The process, and all below it that live now.
    pub(crate) fn tree(&self, root: i32) -> Vec<i32> {
        let mut tree = vec![root];
        let mut next = 0;
        while let Some(parent) = tree.get(next).copied() {
            tree.extend(
                self.processes.iter().filter(|(_, times)| times.parent == parent).map(|(pid, _)| *pid),
            );
            next += 1;
        }
        tree
    }
}

/// Mebibytes of a process, with each shared page counted by its share (PSS); 0 for a process that has ended.
pub(crate) fn pss_mib(pid: i32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or_default() / KIB_PER_MIB
}

/// Reads `/proc/PID/stat`.
fn times(stat: &str) -> Option<Times> {
    // The second field is the program's name in parentheses, which may contain both blanks and parentheses.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Times {
        parent: fields.get(1)?.parse().ok()?,
        own_ticks: ticks(11)? + ticks(12)?,
        waited_for_ticks: ticks(13)? + ticks(14)?,
    })
}

/// Reads the first line of `/proc/stat`.
fn machine(stat: &str) -> Option<Machine> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = *ticks.as_slice() else {
        return None;
    };
    let busy = user + nice + system + irq + softirq;
    Some(Machine { busy, stolen: steal, all: busy + idle + iowait + steal })
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / ticks_per_second()
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_line_is_read_behind_its_name() {
        let times = times("7 (a) b) R 3 7 7 0 -1 0 0 0 0 0 11 12 13 14 20 0 1").unwrap();
        assert_eq!((times.parent, times.own_ticks, times.waited_for_ticks), (3, 23, 27));
    }

    #[test]
    fn this_process_is_seen() {
        let snapshot = Snapshot::take().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(snapshot.tree(own).contains(&own));
        assert!(snapshot.tree_seconds(own) >= 0.0 && pss_mib(own) > 0.0);
        assert!(snapshot.machine_since(&snapshot).busy_seconds.abs() < f64::EPSILON);
    }
}
