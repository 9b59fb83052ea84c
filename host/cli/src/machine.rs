//! What the machine allows: open files and memory maps. The limits that the host would like are
//! cut to what fits, with a warning for each.

use crate::config::Connections;
use proviso_policy::Limits;
use proviso_server::ConnectionLimits;
use std::{fs, num::NonZeroUsize};

/// Memory maps that the process has apart from policies: libraries, threads, the allocator, the database.
const OTHER_MAPS: u64 = 4_096;
/// Maps of one place for an instance, and of one loaded module.
const MAPS_OF_INSTANCE: u64 = 2;
const MAPS_OF_MODULE: u64 = 3;
/// Fewer open files than this leave too few connections.
const FEW_FILES: u64 = 4_096;
/// Open files that connections leave to the database, to compilers and to what else the process does.
const OTHER_FILES: u64 = 192;
/// Connections that are let in however few files may be open.
const FEW_CONNECTIONS: u64 = 64;
/// Loaded modules below which hosts with many contracts would load and drop all the time.
const FEW_MODULES: u64 = 64;

/// What the machine allows, as far as it says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine {
    /// Open files of this process, after the soft limit was raised to the hard one.
    pub files: Option<u64>,
    /// Memory maps of one process.
    pub maps: Option<u64>,
}

impl Machine {
    /// Raises the limit of open files as far as it may be, and looks at what is there.
    pub fn prepare() -> Self {
        let maps = fs::read_to_string("/proc/sys/vm/max_map_count").ok();
        Self {
            files: rlimit::increase_nofile_limit(u64::MAX).ok(),
            maps: maps.and_then(|maps| maps.trim().parse().ok()),
        }
    }

    /// Limits that fit here, and what people should know of it.
    pub fn fit(self, mut limits: Limits) -> (Limits, Vec<String>) {
        let mut warnings = Vec::new();
        let mut bound = |room: u64, why: String| {
            let wanted = u64::try_from(limits.loaded_modules).unwrap_or(u64::MAX);
            if room < wanted {
                let modules = room.max(FEW_MODULES);
                limits.loaded_modules = usize::try_from(modules).unwrap_or(limits.loaded_modules);
                warnings.push(format!("{why}: {modules} policy modules are kept loaded instead of {wanted}"));
            }
        };
        if let Some(files) = self.files {
            bound(files.saturating_sub(FEW_FILES), format!("only {files} files may be open at once"));
        }
        if let Some(maps) = self.maps {
            let instances = u64::from(limits.instances) * MAPS_OF_INSTANCE;
            let room = maps.saturating_sub(OTHER_MAPS).saturating_sub(instances) / MAPS_OF_MODULE;
            bound(room, format!("vm.max_map_count is {maps}"));
        }
        if let Some(files) = self.files.filter(|files| *files < FEW_FILES) {
            warnings.push(format!(
                "only {files} files may be open at once, which is few; raise the hard limit (ulimit -Hn)"
            ));
        }
        (limits, warnings)
    }

    /// How many connections of clients fit beside so many loaded modules and connections to a database, and what people
    /// should know of it.
    pub fn fit_connections(
        self,
        wanted: Connections,
        modules: usize,
        to_database: u32,
    ) -> (ConnectionLimits, Option<String>) {
        let total = wanted.total.map_or(ConnectionLimits::TOTAL, NonZeroUsize::get);
        let others = OTHER_FILES + u64::try_from(modules).unwrap_or(u64::MAX) + u64::from(to_database);
        // The server lets a sixteenth more in while others are ending.
        let fitting = self.files.map(|files| files.saturating_sub(others) / 17 * 16);
        let fitting =
            fitting.map(|fitting| usize::try_from(fitting.max(FEW_CONNECTIONS)).unwrap_or(usize::MAX));
        let (total, warning) = match (fitting, self.files) {
            (Some(fitting), Some(files)) if fitting < total => {
                let why = format!(
                    "only {files} files may be open at once: {fitting} connections are let in instead of {total}"
                );
                (fitting, Some(why))
            }
            _ => (total, None),
        };
        let mut limits = ConnectionLimits::of(total);
        if let Some(per_address) = wanted.per_address {
            limits.per_address = per_address.get().min(total);
        }
        (limits, warning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_to_others() {
        let [none, some] = [None, NonZeroUsize::new(2_000)];
        for (files, total, per_address, modules, found, warns) in [
            (None, none, none, 800, (8_192, 4_096), false),
            (Some(1 << 20), none, none, 800, (8_192, 4_096), false),
            (Some(1 << 20), some, none, 800, (2_000, 1_000), false),
            (Some(1 << 20), none, some, 800, (8_192, 2_000), false),
            (Some(1_024), none, none, 64, (720, 360), true),
            (Some(1_024), none, some, 64, (720, 720), true),
            (Some(100), none, none, 64, (64, 32), true),
        ] {
            let machine = Machine { files, maps: None };
            let (limits, warning) = machine.fit_connections(Connections { total, per_address }, modules, 0);
            assert_eq!((limits.total, limits.per_address), found, "{files:?}");
            assert_eq!(warning.is_some(), warns, "{warning:?}");
            let open = limits.total + limits.total.div_ceil(16) + modules;
            let fits = files.is_none_or(|files| files <= 100 || open as u64 + OTHER_FILES <= files);
            assert!(fits, "{files:?} {open}");
        }
    }

    #[test]
    fn limits_shrink_to_what_the_machine_allows() {
        for (files, maps, modules, warnings) in [
            (None, None, 8_000, 0),
            (Some(1 << 20), Some(65_530), 8_000, 0),
            (Some(1_024), Some(65_530), 64, 2),
            (Some(5_096), Some(65_530), 1_000, 1),
            (Some(1 << 20), Some(7_000), 882, 1),
            (Some(1 << 20), Some(0), 64, 1),
        ] {
            let (limits, said) =
                Machine { files, maps }.fit(Limits { loaded_modules: 8_000, ..Limits::default() });
            assert_eq!(
                (limits.loaded_modules, said.len()),
                (modules, warnings),
                "{files:?} {maps:?} {said:?}"
            );
        }
    }
}
