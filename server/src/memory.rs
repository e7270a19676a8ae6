//! How much memory the process may use.

use std::fs;

/// Where a control group says its limit, version 2 and version 1.
const LIMIT_FILES: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
/// Assumed where the system does not say.
const ASSUMED_BYTES: u64 = 2 << 30;

/// The machine's memory, or the limit of the process's control group when that is less.
pub fn total_bytes() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| machine_bytes(&text));
    let group =
        group_files().into_iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok()).min();
    machine.into_iter().chain(group).min().unwrap_or(ASSUMED_BYTES)
}

/// The limit files of the process's own group and of the root, which is the group itself inside a container.
fn group_files() -> Vec<String> {
    let mut files = LIMIT_FILES.map(str::to_owned).to_vec();
    for line in fs::read_to_string("/proc/self/cgroup").unwrap_or_default().lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        match (parts.next(), parts.next()) {
            (Some(""), Some(group)) => files.push(format!("/sys/fs/cgroup{group}/memory.max")),
            (Some("memory"), Some(group)) => {
                files.push(format!("/sys/fs/cgroup/memory{group}/memory.limit_in_bytes"));
            }
            _ => {}
        }
    }
    files
}

fn machine_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_read() {
        assert_eq!(machine_bytes("MemTotal:       24690412 kB\nMemFree: 1 kB\n"), Some(24_690_412 * 1_024));
        assert_eq!(machine_bytes("MemFree: 1 kB\n"), None);
        assert!(total_bytes() > 64 << 20);
    }
}
