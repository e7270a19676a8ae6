//! A file system in a file, whose power can be cut and which can be small.

use std::{
    fs::{self, File},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::Command,
};

use super::Outcome;

/// `_IOR('X', 125, __u32)`.
const FS_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
/// `_IOWR('X', 119, int)` and the one after it.
const FIFREEZE: libc::c_ulong = 0xc004_5877;
const FITHAW: libc::c_ulong = 0xc004_5878;
/// Leaves the journal as it is: what was not synced is lost, as it is with the power.
const NO_LOG_FLUSH: u32 = 2;

/// Unmounted when dropped; its image goes too.
pub struct LoopFs {
    image: PathBuf,
    mounted_at: PathBuf,
}

impl LoopFs {
    /// Needs root.
    pub fn create(folder: &Path, mebibytes: u64) -> Outcome<Self> {
        let image = folder.join("disk.img");
        let mounted_at = folder.join("disk");
        fs::create_dir_all(&mounted_at)?;
        File::create(&image)?.set_len(mebibytes << 20)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
        let disk = Self { image, mounted_at };
        disk.mount()?;
        Ok(disk)
    }

    /// Whether this machine gives such file systems, and lets their power be cut: not everybody is root, and not every
    /// root has loop devices.
    pub fn probe(folder: &Path) -> Outcome {
        let disk = Self::create(folder, 32)?;
        disk.cut_power()?;
        disk.remount()
    }

    pub fn path(&self) -> &Path {
        &self.mounted_at
    }

    fn mount(&self) -> Outcome {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mounted_at))
    }

    /// Nothing written from here on, and nothing not synced before, is kept. Programs see I/O errors.
    pub fn cut_power(&self) -> Outcome {
        let root = File::open(&self.mounted_at)?;
        let flag = NO_LOG_FLUSH;
        // SAFETY: the descriptor is open, and the kernel reads four bytes from a place that outlives the call.
        if unsafe { libc::ioctl(root.as_raw_fd(), FS_IOC_SHUTDOWN as _, &raw const flag) } != 0 {
            return Err(format!("FS_IOC_SHUTDOWN: {}", std::io::Error::last_os_error()).into());
        }
        Ok(())
    }

    /// Writes and syncs wait from here on.
    pub fn freeze(&self) -> Outcome {
        self.call("FIFREEZE", FIFREEZE)
    }

    /// They go on.
    pub fn thaw(&self) -> Outcome {
        self.call("FITHAW", FITHAW)
    }

    fn call(&self, name: &str, request: libc::c_ulong) -> Outcome {
        let root = File::open(&self.mounted_at)?;
        // SAFETY: the descriptor is open, and the kernel looks at no argument.
        if unsafe { libc::ioctl(root.as_raw_fd(), request as _, 0) } != 0 {
            return Err(format!("{name}: {}", std::io::Error::last_os_error()).into());
        }
        Ok(())
    }

    /// After the power cut, with no program left on it.
    pub fn remount(&self) -> Outcome {
        run(Command::new("umount").arg(&self.mounted_at))?;
        self.mount()
    }

    /// Bytes that can still be written.
    pub fn free_bytes(&self) -> Outcome<u64> {
        let path = std::ffi::CString::new(self.mounted_at.as_os_str().as_encoded_bytes())?;
        // SAFETY: all zeroes is a valid value of a structure of integers.
        let mut room: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: the path ends in a zero, and the structure lives through the call.
        if unsafe { libc::statvfs(path.as_ptr(), &raw mut room) } != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        Ok(room.f_bavail * room.f_frsize)
    }
}

impl Drop for LoopFs {
    fn drop(&mut self) {
        // A frozen one could not be unmounted; one that is not frozen says so.
        let _not_frozen = self.thaw();
        if let Err(error) = run(Command::new("umount").arg("-l").arg(&self.mounted_at)) {
            eprintln!("{}: {error}", self.mounted_at.display());
        }
        let _gone_already = fs::remove_file(&self.image);
    }
}

fn run(command: &mut Command) -> Outcome {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}
