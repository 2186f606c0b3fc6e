//! What the kernel says of a process and of the machine: CPU time, memory, load.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::Pid;
use rustix::thread::CpuSet;

/// Bytes of memory, as `/proc/PID/status` has them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) resident_peak: u64,
}

/// User and system time of all threads of `pid` since it began, ended ones included.
pub(crate) fn cpu(pid: Pid) -> io::Result<Duration> {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let stat = fs::read_to_string(&path)?;
    stat_ticks(&stat)
        .map(ticks)
        .ok_or_else(|| io::Error::other(format!("{path} has no times")))
}

/// Fields 14 and 15 of a stat line. The name in field 2 may hold spaces and parentheses.
fn stat_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Resident memory of `pid` now and at its highest.
pub(crate) fn memory(pid: Pid) -> io::Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?;
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        Some(line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    };
    Ok(Memory {
        resident: of("VmRSS:").unwrap_or_default(),
        resident_peak: of("VmHWM:").unwrap_or_default(),
    })
}

/// Bytes that `pid` had read from disks since it began, as the kernel accounts them.
pub(crate) fn disk_read(pid: Pid) -> io::Result<u64> {
    let path = format!("/proc/{}/io", pid.as_raw_nonzero());
    let text = fs::read_to_string(&path)?;
    text.lines()
        .find_map(|line| line.strip_prefix("read_bytes: ")?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("{path} has no read_bytes")))
}

/// Time that all CPUs together spent working, whoever they worked for (steal included).
pub(crate) fn machine_busy() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line
        .split_ascii_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal
    let busy = [0, 1, 2, 5, 6, 7]
        .iter()
        .filter_map(|&field| fields.get(field))
        .sum();
    Ok(ticks(busy))
}

fn ticks(ticks: u64) -> Duration {
    Duration::from_nanos(ticks * 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1))
}

/// The load averages, as text.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_ascii_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The child processes of `pid`, of whichever thread.
pub(crate) fn children(pid: Pid) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    let mut found = Vec::new();
    for task in tasks.into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let pids = text
            .split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok());
        found.extend(pids.filter_map(Pid::from_raw));
    }
    found
}

/// Lets the calling thread, and what it starts from now on, run on `core` only.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// The first two cores this process may use: the server's and the driver's.
pub(crate) fn cores() -> io::Result<Option<(usize, usize)>> {
    let set = rustix::thread::sched_getaffinity(None)?;
    let mut allowed = (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core));
    Ok(allowed.next().zip(allowed.next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b) R 1 7 7 0 -1 4194304 88 0 0 0 250 130 0 0 20 0 1 0 1 1 1";
        assert_eq!(stat_ticks(stat), Some(380));
    }

    #[test]
    fn this_process_has_used_cpu_and_memory() {
        let pid = rustix::process::getpid();
        let memory = memory(pid).unwrap();
        assert!(1024 * 1024 < memory.resident && memory.resident <= memory.resident_peak);
        let before = cpu(pid).unwrap();
        while cpu(pid).unwrap() == before {}
    }
}
