//! A host: the release binary in a process of its own, on a free port.

use crate::{
    BINARY,
    machine::Process,
    wire::{ADMIN_KEY, Wire},
};
use std::{fs::File, path::Path, process::Stdio};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// A running host; it is killed when it is dropped.
pub struct Host {
    child: Child,
    /// Where it listens.
    pub address: String,
}

impl Host {
    /// Starts one on a data directory and a database, and waits until it listens.
    pub async fn start(data: &Path, database_url: &str, flags: &[&str]) -> Self {
        let log = data.join("host.log");
        let mut child = Command::new(BINARY)
            .args(["serve", "--listen", "127.0.0.1:0", "--log-level", "warn", "--data-dir"])
            .arg(data)
            .args(["--database-url", database_url])
            .args(flags)
            .env("PROVISO_ADMIN_KEY", ADMIN_KEY)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .expect("the host starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap_or_default();
        let Some(address) = line.strip_prefix("listening on http://") else {
            panic!("the host did not start: {}", std::fs::read_to_string(&log).unwrap_or_default());
        };
        Self { child, address: address.to_owned() }
    }

    pub async fn wire(&self) -> Wire {
        Wire::connect(&self.address).await
    }

    pub fn process(&self) -> Process {
        Process(self.child.id().expect("the host runs"))
    }

    /// A counter that only the host has.
    pub async fn counter(&self, name: &str) -> u64 {
        let mut wire = self.wire().await;
        let answer = wire.get("/metrics").await.yes();
        let text = std::str::from_utf8(answer.body).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("the host does not count {name}"))
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(mut self) {
        let process = self.process().0.to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &process]).status().unwrap().success());
        assert!(self.child.wait().await.unwrap().success(), "the host ended badly");
    }

    /// Ends it as a power cut would.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}
