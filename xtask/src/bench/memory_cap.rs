//! A control group with a limit on memory, for one process. Without the right to make one, the process runs without a
//! limit of the kernel's, and that is said.

use std::{
    fs,
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

use crate::process::Result;

/// Removed when dropped, once its processes have ended.
pub struct MemoryCap {
    folder: Option<PathBuf>,
    peak: &'static str,
}

impl MemoryCap {
    pub fn new(bytes: u64) -> Result<Self> {
        let name = format!("basalt-bench-{}", process::id());
        // Version 2 has the controllers' files in every group, version 1 a tree for each.
        let hierarchies = [
            (
                "/sys/fs/cgroup/memory",
                "memory.limit_in_bytes",
                "memory.memsw.limit_in_bytes",
                "memory.max_usage_in_bytes",
            ),
            ("/sys/fs/cgroup", "memory.max", "memory.swap.max", "memory.peak"),
        ];
        for (root, limit, swap, peak) in hierarchies {
            let folder = Path::new(root).join(&name);
            if !Path::new(root).exists() || fs::create_dir(&folder).is_err() {
                continue;
            }
            if fs::write(folder.join(limit), bytes.to_string()).is_ok() {
                // No swap: on version 1 the limit of both together. A kernel without swap has no such file.
                let swap_bytes = if peak == "memory.peak" { 0 } else { bytes };
                let _no_swap = fs::write(folder.join(swap), swap_bytes.to_string());
                return Ok(Self { folder: Some(folder), peak });
            }
            let _gone = fs::remove_dir(&folder);
        }
        eprintln!("no control group could be made: memory is watched but not capped");
        Ok(Self { folder: None, peak: "" })
    }

    /// The file that takes the ids of the processes to be capped.
    pub fn procs(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join("cgroup.procs"))
    }

    pub fn peak_mib(&self) -> String {
        let peak = self.folder.as_ref().and_then(|folder| fs::read_to_string(folder.join(self.peak)).ok());
        let bytes: Option<u64> = peak.and_then(|text| text.trim().parse().ok());
        bytes.map_or_else(|| "unknown".to_owned(), |bytes| (bytes >> 20).to_string())
    }
}

impl Drop for MemoryCap {
    fn drop(&mut self) {
        let Some(folder) = &self.folder else { return };
        for _ in 0..50 {
            if fs::remove_dir(folder).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}
