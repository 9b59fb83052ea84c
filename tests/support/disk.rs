//! A disk that can run full: a small file system in memory, where one may be mounted; else a limit on the size of the
//! files that a host's process may write, which fails its writes in the same places.

use super::Setup;
use std::{
    fs::File,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

/// Room for what the tests write, and little more.
const SIZE: &str = "size=256m,mode=777";

/// Where a host's data lies.
pub struct Disk {
    /// The host on it.
    pub setup: Setup,
    mounted: bool,
}

impl Disk {
    /// An empty one.
    pub fn new() -> Self {
        let data = Arc::new(tempfile::tempdir().unwrap());
        let place = data.path().to_str().unwrap();
        let mounted = privileged(&["mount", "-t", "tmpfs", "-o", SIZE, "tmpfs", place]);
        let setup = Setup::within(data);
        // A process that writes beyond its limit gets a signal too, which would end it.
        let setup = if mounted { setup } else { setup.through(&["env", "--ignore-signal=XFSZ"]) };
        Self { setup, mounted }
    }

    /// How it runs full, for people.
    pub fn kind(&self) -> &'static str {
        if self.mounted { "a file system that is full" } else { "a limit on the size of files" }
    }

    /// From now on nothing more can be written by this process.
    pub fn fill(&self, process: u32) {
        if !self.mounted {
            return limit(process, "0:unlimited");
        }
        let mut ballast = File::create(self.ballast()).unwrap();
        let block = vec![0; 1 << 16];
        while ballast.write_all(&block).is_ok() {}
        while ballast.write_all(&[0]).is_ok() {}
    }

    /// There is room again.
    pub fn free(&self, process: u32) {
        if self.mounted {
            std::fs::remove_file(self.ballast()).unwrap();
        } else {
            limit(process, "unlimited:unlimited");
        }
    }

    fn ballast(&self) -> std::path::PathBuf {
        self.path().join("ballast")
    }

    fn path(&self) -> &Path {
        self.setup.data.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            privileged(&["umount", "--lazy", self.path().to_str().unwrap_or_default()]);
        }
    }
}

/// Whether it worked, if need be through sudo.
fn privileged(command: &[&str]) -> bool {
    [&[][..], &["sudo", "-n"]].into_iter().any(|prefix| {
        let mut command = prefix.iter().chain(command);
        let Some(program) = command.next() else { return false };
        let mut process = Command::new(program);
        let status = process.args(command).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    })
}

fn limit(process: u32, size: &str) {
    let status = Command::new("prlimit")
        .args([format!("--pid={process}"), format!("--fsize={size}")])
        .status()
        .expect("prlimit runs");
    assert!(status.success(), "the limit can't be set");
}
