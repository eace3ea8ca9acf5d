//! A disk without room, on a file system of its own. Needs root to mount it.

use std::{fs, path::Path, path::PathBuf, process::Command};

use tempfile::{TempDir, tempdir};

/// A small file system in memory, for as long as this is kept.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None`: it cannot be mounted, which takes root.
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

    /// Leaves no room.
    pub fn fill(&self) {
        let written = fs::write(self.ballast(), vec![0; 8 << 20]);
        assert!(written.is_err(), "it is full");
    }

    /// Makes room again.
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
