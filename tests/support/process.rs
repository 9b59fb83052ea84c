//! What a host and the children that compile for it take, as the kernel counts it.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Between two looks.
const GLANCE: Duration = Duration::from_millis(4);
/// How long one unit of the processor time in `/proc` is.
const TICK: Duration = Duration::from_millis(10);

/// A line of `/proc/<process>/status`, in KiB.
fn kib(process: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Resident memory, in KiB.
pub fn resident_kib(process: u32) -> u64 {
    kib(process, "VmRSS").expect("the process runs")
}

/// What one child took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Taken {
    /// The most memory that was resident, in KiB.
    pub peak_kib: u64,
    /// Processor time, to within [`TICK`].
    pub cpu: Duration,
}

/// Looks at the children of a process until it is told to stop.
pub struct Watch {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<BTreeMap<u32, Taken>>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins.
    pub fn children_of(process: u32) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::default()));
        let thread = std::thread::spawn({
            let (stop, seen) = (stop.clone(), seen.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    look(process, &mut seen.lock().unwrap());
                    std::thread::sleep(GLANCE);
                }
            }
        });
        Self { stop, seen, thread: Some(thread) }
    }

    /// What the children of which anything was seen since the last call took, the most of each kind.
    pub fn most(&self) -> Taken {
        std::mem::take(&mut *self.seen.lock().unwrap()).into_values().fold(Taken::default(), |most, one| {
            Taken { peak_kib: most.peak_kib.max(one.peak_kib), cpu: most.cpu.max(one.cpu) }
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn look(process: u32, seen: &mut BTreeMap<u32, Taken>) {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return };
    let own = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    for thread in threads.flatten() {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            // Until it has become another program, its memory is the host's.
            if fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default() == own {
                continue;
            }
            let taken = seen.entry(child).or_default();
            taken.peak_kib = taken.peak_kib.max(kib(child, "VmHWM").unwrap_or(0));
            taken.cpu = taken.cpu.max(cpu(child).unwrap_or_default());
        }
    }
}

/// Processor time of a process, in its own code and in the kernel.
fn cpu(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11).map(|field| field.parse::<u32>().ok());
    Some(TICK * (fields.next()?? + fields.next()??))
}
