//! The host of the demo: this same binary, started as `proviso serve` in a process of its own, and stopped as an
//! operator stops it.

use crate::error::Error;
use rustix::process::{Pid, Signal as Unix, kill_process};
use std::{
    fs::{self, File},
    io,
    path::PathBuf,
    process::Stdio,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
};

/// What the host prints once it is ready.
const READY: &str = "listening on http://";

/// A running host.
pub struct Host {
    child: Child,
    /// Where it listens.
    pub address: String,
    /// Its first admin key.
    pub admin_key: String,
    /// Its database.
    pub database: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// Whether its data is removed at the end.
    pub is_temporary: bool,
    // Removed at the end, when nobody named a folder.
    _folder: Option<tempfile::TempDir>,
}

impl Host {
    /// Starts one with fresh data and waits until it is ready.
    pub async fn start(listen: &str, data_dir: Option<PathBuf>, admin_key: String) -> Result<Self, Error> {
        let (data_dir, folder) = match data_dir {
            Some(path) => {
                fs::create_dir_all(&path).map_err(Error::file(&path))?;
                (path.canonicalize().map_err(Error::file(&path))?, None)
            }
            None => {
                let folder = tempfile::tempdir().map_err(Error::system("a folder for the host's data"))?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        let (database, log) = (data_dir.join("proviso.db"), data_dir.join("host.log"));
        if database.exists() {
            let detail = "holds a database already; the demo begins with a fresh one".to_owned();
            return Err(Error::Content { path: data_dir, detail });
        }
        let stderr = File::create(&log).map_err(Error::file(&log))?;
        let program = std::env::current_exe().map_err(Error::system("the path of this program"))?;
        // Everything that could lead to another host's data is said by a flag, which wins over all else.
        let mut child = Command::new(program)
            .args(["serve", "--test-clock=false", "--listen", listen, "--data-dir"])
            .arg(&data_dir)
            .arg("--database-url")
            .arg(format!("sqlite://{}", database.display()))
            .env("PROVISO_ADMIN_KEY", &admin_key)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            // A Ctrl-C is for the demo, which then asks the host to end.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::system("starting the host"))?;
        let stdout = child.stdout.take().ok_or_else(|| Error::Demo("the host has no stdout".to_owned()))?;
        let mut lines = BufReader::new(stdout).lines();
        let line = lines.next_line().await.map_err(Error::system("reading from the host"))?;
        let Some(address) = line.as_deref().and_then(|line| line.strip_prefix(READY)).map(str::to_owned)
        else {
            let said = fs::read_to_string(&log).unwrap_or_default();
            return Err(Error::Demo(format!("the host did not start:\n{said}")));
        };
        Ok(Self { child, address, admin_key, database, log, is_temporary: folder.is_some(), _folder: folder })
    }

    /// Waits until the host ends by itself, or `other` does.
    pub async fn ends_or(&mut self, other: impl Future<Output = ()>) {
        tokio::select! {
            _ = self.child.wait() => {}
            () = other => {}
        }
    }

    /// Asks the host to end, and waits for it.
    pub async fn stop(mut self) -> Result<(), Error> {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself.
            let _ = kill_process(pid, Unix::TERM);
        }
        let status = self.child.wait().await.map_err(Error::system("waiting for the host"))?;
        if status.success() { Ok(()) } else { Err(Error::Demo(format!("the host ended with {status}"))) }
    }
}

/// What asks the demo to end.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Begins to listen.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Done with the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
