//! A real PostgreSQL for tests: server binaries in (installed when there are none), a running cluster in a folder of its
//! own out, on 127.0.0.1 alone. It can be crashed, stopped and started again on its port. It never outlives the process
//! that started it, however that ends. Knows nothing of the host, so that any crate's tests can include this file.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "each test uses a part of this; one that has no server should stop where it stands; deadlines need a clock"
)]

use std::{
    fs::{File, OpenOptions},
    net::{Ipv4Addr, TcpListener},
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicU16, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a server may take to start, recovery included, or to stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at whether it has.
const GLANCE: Duration = Duration::from_millis(10);

/// Waits for the test process to end (its end of the pipe closes, also on `kill -9`), then clears up after it.
const WATCHDOG: &str = r#"
cat > /dev/null
pid=$(head -n 1 "$0/data/postmaster.pid" 2> /dev/null)
if [ -n "$pid" ] && grep -qF "$0/data" "/proc/$pid/cmdline" 2> /dev/null; then
    kill -QUIT "$pid"
    turns=0
    while [ -e "$0/data/postmaster.pid" ] && [ $turns -lt 600 ]; do sleep 0.1; turns=$((turns + 1)); done
fi
rm -rf "$0"
"#;

/// A cluster that all tests of this process share: for those that only need a database. It ends with the process.
pub fn shared() -> &'static Cluster {
    static SHARED: LazyLock<Cluster> = LazyLock::new(Cluster::start_new);
    &SHARED
}

/// A PostgreSQL cluster with a superuser `postgres` who needs no password. Dropping it ends it and removes its folder.
pub struct Cluster {
    bin: PathBuf,
    folder: PathBuf,
    /// Who runs the server, when we are root and it refuses to be.
    user: Option<(u32, u32)>,
    settings: Vec<String>,
    port: u16,
    postmaster: Mutex<Option<Child>>,
    watchdog: (Child, Option<ChildStdin>),
    databases: AtomicU32,
}

impl Cluster {
    /// A new cluster, running, with PostgreSQL's own settings: what it answers is on the disk.
    pub fn start_new() -> Self {
        Self::start_with(&[])
    }

    /// A new cluster, running, with these settings on top, such as `("fsync", "off")`.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::Builder::new().prefix("proviso-postgres-").tempdir().unwrap();
        let user = unprivileged_user();
        if let Some((user, group)) = user {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG])
            .arg(folder.path())
            // A signal for the whole group of the tests must not reach it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell starts");
        let pipe = watchdog.stdin.take();
        let cluster = Self {
            bin: binaries().to_owned(),
            folder: folder.keep(),
            user,
            settings: settings.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            port: free_port(),
            postmaster: Mutex::new(None),
            watchdog: (watchdog, pipe),
            databases: AtomicU32::new(0),
        };
        cluster.init();
        cluster.start();
        cluster
    }

    /// Brings a new server to where one is that has written for an hour: its log is recycled. A new one makes each file
    /// of its log by writing 16 MiB of zeros, and commits wait for that.
    pub fn settle(&self) {
        let fill = "do $$ begin for file in 1..60 loop \
                    perform pg_logical_emit_message(false, '', ''), pg_switch_wal(); end loop; end $$";
        self.sql("postgres", fill);
        self.sql("postgres", "checkpoint");
    }

    /// Where its files lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The postmaster's process and those that it started, while it runs.
    pub fn processes(&self) -> Vec<u32> {
        let postmaster = self.postmaster.lock().unwrap();
        let Some(postmaster) = postmaster.as_ref().map(Child::id) else { return Vec::new() };
        children(postmaster).into_iter().chain([postmaster]).collect()
    }

    /// The port that it listens on, the same for its whole life.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        url(self.port, database)
    }

    /// Makes an empty database; returns its name.
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("create database {name}"));
        name
    }

    /// What `psql` prints for a statement: rows in lines, columns divided by `|`.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let output = self
            .command("psql")
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, &self.url(database)])
            .output()
            .expect("psql runs");
        let failure = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{statement}: {failure}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Starts the server, again on its port and its data, and waits until it lets clients in.
    pub fn start(&self) {
        let mut postmaster = self.postmaster.lock().unwrap();
        assert!(postmaster.is_none(), "the cluster runs");
        let log = OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap();
        let mut child = self.spawn(&log);
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ready() {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("PostgreSQL ended with {status}:\n{}", self.log());
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                panic!("PostgreSQL does not get ready:\n{}", self.log());
            }
            std::thread::sleep(GLANCE);
        }
        *postmaster = Some(child);
    }

    /// Crashes the server: `kill -9` for the postmaster and each of its processes. Nothing when it does not run.
    pub fn stop_immediate(&self) {
        let Some(mut postmaster) = self.postmaster.lock().unwrap().take() else { return };
        // While it stands still it starts no other process.
        signal("STOP", &[postmaster.id()]);
        let children = children(postmaster.id());
        signal("KILL", &children);
        postmaster.kill().unwrap();
        postmaster.wait().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while children.iter().any(|child| is_alive(*child)) {
            assert!(Instant::now() < deadline, "processes of PostgreSQL outlive kill -9");
            std::thread::sleep(GLANCE);
        }
    }

    /// Stops the server in order: sessions are ended, what they had open is rolled back. Nothing when it does not run.
    pub fn stop_fast(&self) {
        self.stop("INT");
    }

    /// What the server has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn stop(&self, with: &str) {
        let Some(mut postmaster) = self.postmaster.lock().unwrap().take() else { return };
        signal(with, &[postmaster.id()]);
        let deadline = Instant::now() + PATIENCE;
        while postmaster.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                let _ = postmaster.kill();
            }
            std::thread::sleep(GLANCE);
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn init(&self) {
        let mut failures = String::new();
        for locale in ["C.UTF-8", "C"] {
            let output = self
                .command("initdb")
                .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8"])
                .args([&format!("--locale={locale}"), "--pgdata"])
                .arg(self.data())
                .output()
                .expect("initdb runs");
            if output.status.success() {
                return;
            }
            failures.push_str(&String::from_utf8_lossy(&output.stderr));
        }
        panic!("initdb: {failures}");
    }

    fn spawn(&self, log: &File) -> Child {
        let settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=300",
            // Files in the folder, so that a crash leaves nothing anywhere else.
            "dynamic_shared_memory_type=mmap",
        ];
        let settings = settings.into_iter().chain(self.settings.iter().map(String::as_str));
        self.command("postgres")
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string()])
            .args(settings.flat_map(|setting| ["-c", setting]))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log.try_clone().unwrap())
            .spawn()
            .expect("postgres starts")
    }

    fn is_ready(&self) -> bool {
        let asked = self.command("pg_isready").args(["-q", "-d", &self.url("postgres")]).status();
        asked.expect("pg_isready runs").success()
    }

    /// A program of PostgreSQL, as the user who may run it.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.current_dir(&self.folder);
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("PG")) {
                command.env_remove(name);
            }
        }
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop("QUIT");
        let (watchdog, pipe) = &mut self.watchdog;
        drop(pipe.take());
        let _ = watchdog.wait();
    }
}

/// The URL of a database behind a port of this machine.
pub fn url(port: u16, database: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/{database}")
}

/// The folder of the server's programs, from Debian's package when there are none.
fn binaries() -> &'static Path {
    static BINARIES: LazyLock<PathBuf> = LazyLock::new(|| {
        find_binaries().unwrap_or_else(|| {
            let told = install();
            find_binaries().unwrap_or_else(|| {
                panic!(
                    "these tests need the programs of a PostgreSQL server, and installing them failed: {told}"
                )
            })
        })
    });
    &BINARIES
}

fn find_binaries() -> Option<PathBuf> {
    let configured = Command::new("pg_config").arg("--bindir").output().ok();
    let configured =
        configured.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end()));
    let mut packaged: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .collect();
    packaged.sort();
    let mut folders = configured.into_iter().chain(packaged.into_iter().rev());
    folders.find(|folder| {
        ["initdb", "postgres", "psql", "pg_isready"].iter().all(|program| folder.join(program).exists())
    })
}

/// Returns what went wrong, if it did.
fn install() -> String {
    let mut told = String::new();
    for arguments in [
        &["update"][..],
        &["install", "-y", "--no-install-recommends", "postgresql-15"],
        &["install", "-y", "--no-install-recommends", "postgresql"],
    ] {
        let mut command = if is_root() { Command::new("env") } else { Command::new("sudo") };
        if !is_root() {
            command.args(["-n", "env"]);
        }
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]);
        match command.args(arguments).output() {
            Ok(output) if output.status.success() && arguments.contains(&"install") => break,
            Ok(output) => told.push_str(&String::from_utf8_lossy(&output.stderr)),
            Err(error) => told.push_str(&error.to_string()),
        }
    }
    told
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// PostgreSQL refuses to run as root: who shall run it then, as user and group.
fn unprivileged_user() -> Option<(u32, u32)> {
    if !is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let mut fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let fields = fields.find(|fields| fields.first() == Some(&name))?;
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    Some(find("postgres").or_else(|| find("nobody")).expect("a user that is not root"))
}

/// A port that is free, and stays so while the server is down: below those that the system hands to outgoing connections.
fn free_port() -> u16 {
    const FIRST: u16 = 15_000;
    const COUNT: u16 = 15_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap();
    // Processes that start one after another begin far apart.
    let start = u32::from(process) * 97;
    (0..COUNT)
        .map(|_| u32::from(NEXT.fetch_add(1, Ordering::Relaxed)))
        .map(|step| FIRST + u16::try_from((start + step) % u32::from(COUNT)).unwrap())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port")
}

fn signal(name: &str, processes: &[u32]) {
    if processes.is_empty() {
        return;
    }
    // One of them may have ended by itself.
    let processes = processes.iter().map(ToString::to_string);
    let _ = Command::new("kill").arg(format!("-{name}")).args(processes).stderr(Stdio::null()).status();
}

fn children(of: u32) -> Vec<u32> {
    let parent = of.to_string();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|process| process.ok()?.file_name().to_str()?.parse().ok())
        .filter(|process| status_of(*process).is_some_and(|(_, of)| of == parent))
        .collect()
}

/// Whether this process has not ended.
pub fn is_alive(process: u32) -> bool {
    status_of(process).is_some_and(|(state, _)| state != "Z" && state != "X")
}

/// A process's state and its parent.
fn status_of(process: u32) -> Option<(String, String)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program stands in brackets and may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').map(ToOwned::to_owned);
    Some((fields.next()?, fields.next()?))
}
