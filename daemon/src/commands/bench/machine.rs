//! Description of the machine; memory and processor time of a process.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Serialize;

/// Where the figures were taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Machine {
    /// Model of the processor.
    pub(super) cpu: String,
    /// Cores that this process may use.
    pub(super) n_cores: usize,
    /// Operating system and architecture.
    pub(super) system: String,
    /// `release` or `debug`: figures of a debug build are meaningless.
    pub(super) build: &'static str,
    /// Version of this program.
    pub(super) version: &'static str,
}

impl Machine {
    /// The one that this runs on.
    pub(super) fn this() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            cpu: cpu.map_or("unknown processor", |(_, name)| name.trim()).to_owned(),
            n_cores: crate::threads::n_cores(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// Memory of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory {
    /// Resident now, in bytes.
    pub(super) resident_bytes: u64,
    /// The most that was resident, in bytes.
    pub(super) peak_bytes: u64,
}

/// Memory of the process `pid`, or of this one for `self`; `None` if the system does not report it.
pub(super) fn memory_of(pid: &str) -> Option<Memory> {
    parse_status(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn parse_status(status: &str) -> Option<Memory> {
    let bytes = |key: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        Some(value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    };
    Some(Memory { resident_bytes: bytes("VmRSS")?, peak_bytes: bytes("VmHWM")? })
}

/// Processor time of each thread of a process that is alive, in seconds, by the thread's number, with its name.
pub(super) type ThreadTimes = BTreeMap<u64, (String, f64)>;

/// The threads of the process `pid`, or of this one for `self`; empty if the system does not report them.
pub(super) fn thread_times(pid: &str) -> ThreadTimes {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    tasks.into_iter().flatten().flatten().filter_map(|task| thread_time(&task.path())).collect()
}

fn thread_time(task: &Path) -> Option<(u64, (String, f64))> {
    let id = task.file_name()?.to_str()?.parse().ok()?;
    let name = fs::read_to_string(task.join("comm")).ok()?;
    let schedstat = fs::read_to_string(task.join("schedstat")).ok()?;
    let ns: u64 = schedstat.split_ascii_whitespace().next()?.parse().ok()?;
    Some((id, (name.trim_end().to_owned(), ns as f64 / 1e9)))
}

/// Processor time between two looks at a process, in seconds, by the kind of thread: threads whose names differ
/// only behind the first `-` are of one kind. Threads that ended in between are left out.
pub(super) fn time_between(before: &ThreadTimes, after: &ThreadTimes) -> BTreeMap<String, f64> {
    let mut kinds = BTreeMap::new();
    for (id, (name, seconds)) in after {
        let earlier = before.get(id).map_or(0.0, |(_, seconds)| *seconds);
        let kind = name.split_once('-').map_or(name.as_str(), |(kind, _)| kind);
        *kinds.entry(kind.to_owned()).or_insert(0.0) += (seconds - earlier).max(0.0);
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_count_of_memory_is_read() {
        let status = "Name:\tdiarized\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n";
        assert_eq!(parse_status(status), Some(Memory { resident_bytes: 1 << 20, peak_bytes: 2 << 20 }));
        assert_eq!(parse_status("Name:\tdiarized\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_counted() {
        let memory = memory_of("self").unwrap();
        assert!(memory.resident_bytes > 100_000 && memory.peak_bytes >= memory.resident_bytes);
        let before = thread_times("self");
        let began = std::time::Instant::now();
        let mut x = 0_u64;
        while began.elapsed().as_millis() < 200 {
            x = std::hint::black_box(x.wrapping_mul(31).wrapping_add(7));
        }
        let spent: f64 = time_between(&before, &thread_times("self")).values().sum();
        assert!(spent > 0.01, "{spent} s for 0.2 s of work, whoever else works here");
    }

    #[test]
    fn threads_of_a_kind_are_one() {
        let times = |list: &[(u64, &str, f64)]| -> ThreadTimes {
            list.iter().map(|&(id, name, s)| (id, (name.to_owned(), s))).collect()
        };
        let before = times(&[(1, "server", 1.0), (2, "inference-0", 2.0)]);
        let after = times(&[
            (1, "server", 1.5),
            (2, "inference-0", 5.0),
            (3, "inference-1", 1.0),
            (4, "session-a", 0.25),
        ]);
        let kinds = time_between(&before, &after);
        let expected = [("inference", 4.0), ("server", 0.5), ("session", 0.25)];
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected.map(|(k, s)| (k.to_owned(), s)));
    }
}
