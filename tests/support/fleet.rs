//! Several hosts that clients find by number, whichever address they have at the moment.

use super::{ADMIN_KEY, Client, Host, Setup};
use std::{process::ExitStatus, sync::Mutex};

/// Hosts that come and go.
pub struct Fleet {
    slots: Vec<Slot>,
}

struct Slot {
    setup: Setup,
    address: Mutex<String>,
    host: tokio::sync::Mutex<Option<Host>>,
}

impl Fleet {
    /// Starts one host for each setup.
    pub async fn start(setups: Vec<Setup>) -> Self {
        let mut slots = Vec::new();
        for setup in setups {
            let host = setup.start().await;
            let address = Mutex::new(host.address.clone());
            slots.push(Slot { setup, address, host: tokio::sync::Mutex::new(Some(host)) });
        }
        Self { slots }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Where a host listens, or did when it last ran.
    pub fn address(&self, host: usize) -> String {
        self.slots[host].address.lock().unwrap().clone()
    }

    /// A client of a host that runs.
    pub async fn client(&self, host: usize) -> Client {
        Client::connect(&self.address(host), ADMIN_KEY).await.expect("the host accepts connections")
    }

    /// Its process.
    pub async fn process(&self, host: usize) -> u32 {
        self.slots[host].host.lock().await.as_ref().expect("the host runs").process()
    }

    /// `kill -9`.
    pub async fn kill(&self, host: usize) {
        drop(self.take(host).await.kill().await);
    }

    /// SIGTERM; returns how the host ended.
    pub async fn terminate(&self, host: usize) -> ExitStatus {
        self.take(host).await.terminate().await
    }

    /// Starts a host that was ended, on its data, at another address.
    pub async fn start_again(&self, host: usize) {
        let slot = &self.slots[host];
        let started = slot.setup.start().await;
        *slot.address.lock().unwrap() = started.address.clone();
        *slot.host.lock().await = Some(started);
    }

    /// The last of what each host has logged, for whoever has to find out what went wrong.
    pub fn last_words(&self) -> String {
        let mut words = String::new();
        for (host, slot) in self.slots.iter().enumerate() {
            let log = std::fs::read(slot.setup.data.path().join("stderr.log")).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<_> = log.lines().rev().take(10).collect();
            words.push_str(&format!(
                "\nhost {host}: {}",
                lines.into_iter().rev().collect::<Vec<_>>().join("\n  ")
            ));
        }
        words
    }

    async fn take(&self, host: usize) -> Host {
        self.slots[host].host.lock().await.take().expect("the host runs")
    }
}
