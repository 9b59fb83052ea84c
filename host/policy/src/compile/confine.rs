//! What a child gives up before it reads a module, and the bounds on what it may use.

#[cfg(target_os = "linux")]
use std::collections::BTreeMap;
use std::io;

/// What this process may use. Beyond its CPU time it gets a signal, and memory beyond the bound is not given to it.
pub(super) struct Bounds {
    pub(super) cpu_seconds: u64,
    pub(super) memory_bytes: u64,
}

#[cfg(unix)]
impl Bounds {
    /// Sets them, and that they can't be raised beyond `most`.
    pub(super) fn set_within(&self, most: &Self) -> io::Result<()> {
        use rlimit::Resource;
        let set = |resource: Resource, soft: u64, most: u64| {
            let (_, hard) = resource.get()?;
            let hard = most.min(hard);
            resource.set(soft.min(hard), hard)
        };
        // At the soft limit comes a signal that says so, at the hard one it would be any kill.
        set(Resource::CPU, self.cpu_seconds, most.cpu_seconds.saturating_add(1))?;
        // Private writable memory: unlike the address space, it does not count the program and what is only reserved.
        set(Resource::DATA, self.memory_bytes, most.memory_bytes)
    }
}

#[cfg(not(unix))]
impl Bounds {
    pub(super) fn set_within(&self, _: &Self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// From here on nothing is opened, started, sent or written to a file.
#[cfg(target_os = "linux")]
pub(super) fn give_up_privileges() -> io::Result<()> {
    use rlimit::Resource;
    crate::trusted::close_all_but_standard_streams()?;
    Resource::NOFILE.set(3, 3)?;
    Resource::NPROC.set(0, 0)?;
    Resource::FSIZE.set(0, 0)?;
    Resource::CORE.set(0, 0)?;
    allow_few_calls().map_err(io::Error::other)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn give_up_privileges() -> io::Result<()> {
    Ok(())
}

/// Lets the kernel refuse every call but those that reading, computing, taking memory and answering need; and those that could
/// be aimed at another process, unless they are aimed at this one.
#[cfg(target_os = "linux")]
fn allow_few_calls() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule,
    };
    const ALLOWED: [libc::c_long; 28] = [
        libc::SYS_brk,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_close,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_fstat,
        libc::SYS_futex,
        libc::SYS_getcwd,
        libc::SYS_getpid,
        libc::SYS_getrandom,
        libc::SYS_gettid,
        libc::SYS_madvise,
        libc::SYS_mmap,
        libc::SYS_mprotect,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_nanosleep,
        libc::SYS_read,
        libc::SYS_restart_syscall,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_yield,
        libc::SYS_sigaltstack,
        libc::SYS_write,
        libc::SYS_writev,
    ];
    let first_is = |value: u64| {
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?;
        SeccompRule::new(vec![condition])
    };
    let own = u64::from(std::process::id());
    let mut rules: BTreeMap<_, _> = ALLOWED.into_iter().map(|call| (call, Vec::new())).collect();
    // 0 is the caller.
    rules.insert(libc::SYS_prlimit64, vec![first_is(0)?]);
    // `abort` signals itself. There is one thread, which has the process's number.
    rules.insert(libc::SYS_tgkill, vec![first_is(own)?]);
    rules.insert(libc::SYS_tkill, vec![first_is(own)?]);
    // An error rather than the end of the process: the allocator and the standard library have a second way for most.
    let others = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, others, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?;
    let program: BpfProgram = filter.try_into()?;
    // It also sets `no_new_privs`.
    Ok(seccompiler::apply_filter(&program)?)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::allow_few_calls;
    use rlimit::{Resource, prlimit};
    use std::os::unix::process::parent_id;

    /// The filter holds for the thread that sets it, and ends with it.
    #[test]
    fn limits_of_other_processes_are_out_of_reach() {
        let parent = i32::try_from(parent_id()).unwrap();
        let read = |pid| {
            let (mut soft, mut hard) = (0, 0);
            prlimit(pid, Resource::NOFILE, None, Some((&mut soft, &mut hard))).is_ok()
        };
        assert!(read(parent), "without the filter it can be read");
        let (own, other) = std::thread::spawn(move || {
            allow_few_calls().unwrap();
            (read(0), read(parent))
        })
        .join()
        .unwrap();
        assert_eq!((own, other), (true, false));
    }
}
