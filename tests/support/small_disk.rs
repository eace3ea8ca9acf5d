//! A full disk, simulated by a small file system in memory. Mounting it requires root.

use std::{fs, path::Path, path::PathBuf, process::Command};

use tempfile::{TempDir, tempdir};

/// A file system of 4 MB in memory, mounted until this is dropped.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Returns `None` if mounting fails, for example without root.
    pub fn mount() -> Option<Self> {
        let folder = tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(folder.path())
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(folder))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }

    /// Fills the disk.
    pub fn fill(&self) {
        let written = fs::write(self.ballast(), vec![0; 8 << 20]);
        assert!(written.is_err(), "the disk is full");
    }

    /// Frees the space again.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount")
            .arg("-l")
            .arg(self.0.path())
            .status()
            .ok();
    }
}
