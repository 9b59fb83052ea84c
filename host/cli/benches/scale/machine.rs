//! The machine and its processes: what the disk needs for a durable write, and what `/proc` says of a process.

use crate::Options;
use std::{
    fs::{self, File},
    io::Write as _,
    time::Instant,
};

/// Clock ticks a second in `/proc/PID/stat`, on every Linux that is still in use.
const TICKS: u64 = 100;
/// Durable writes that are timed.
const WRITES: usize = 200;

/// What every table begins with.
pub fn describe(options: &Options) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{cores} cores; a durable append of 4 KiB takes {} µs; {} rounds of {} s; {} connections; {}",
        durable_append_micros(),
        options.rounds,
        options.seconds,
        options.connections,
        load_average(),
    )
}

/// What else ran, roughly.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load average {}", text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// Appends 4 KiB and waits for the disk; the median of some, in microseconds.
fn durable_append_micros() -> u128 {
    let folder = tempfile::tempdir().unwrap();
    let mut file = File::create(folder.path().join("probe")).unwrap();
    let mut times: Vec<u128> = (0..WRITES)
        .map(|_| {
            let began = Instant::now();
            file.write_all(&[7; 4096]).unwrap();
            file.sync_data().unwrap();
            began.elapsed().as_micros()
        })
        .collect();
    times.sort_unstable();
    times[WRITES / 2]
}

/// A process.
#[derive(Debug, Clone, Copy)]
pub struct Process(pub u32);

/// What a process holds.
#[derive(Debug, Clone, Copy)]
pub struct Footprint {
    /// Resident memory.
    pub resident_mb: f64,
    /// The part of it that no file backs.
    pub anonymous_mb: f64,
    /// Memory maps.
    pub maps: usize,
    /// File descriptors.
    pub files: usize,
}

impl Process {
    /// CPU time so far, in microseconds, with that of children it has waited for; in steps of 10 ms.
    pub fn cpu_micros(self) -> u64 {
        // The name, in brackets, may hold spaces.
        let text = self.read("stat");
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = fields.iter().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
        ticks * (1_000_000 / TICKS)
    }

    pub fn footprint(self) -> Footprint {
        let status = self.read("status");
        let megabytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            let kib = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<f64>();
            kib.unwrap_or_default() / 1_024.0
        };
        Footprint {
            resident_mb: megabytes("VmRSS"),
            anonymous_mb: megabytes("RssAnon"),
            maps: self.read("maps").lines().count(),
            files: fs::read_dir(format!("/proc/{}/fd", self.0)).map_or(0, Iterator::count),
        }
    }

    fn read(self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.0)).unwrap_or_default()
    }
}
