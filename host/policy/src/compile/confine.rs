//! What a child gives up before it reads a module, and the bounds on what it may use.

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

/// Lets the kernel refuse every call but those that reading, computing, taking memory and answering need.
#[cfg(target_os = "linux")]
fn allow_few_calls() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    const ALLOWED: [libc::c_long; 31] = [
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
        libc::SYS_prlimit64,
        libc::SYS_read,
        libc::SYS_restart_syscall,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_yield,
        libc::SYS_sigaltstack,
        libc::SYS_tgkill,
        libc::SYS_tkill,
        libc::SYS_write,
        libc::SYS_writev,
    ];
    let rules = ALLOWED.into_iter().map(|call| (call, Vec::new())).collect();
    // An error rather than the end of the process: the allocator and the standard library have a second way for most.
    let others = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, others, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?;
    let program: BpfProgram = filter.try_into()?;
    // It also sets `no_new_privs`.
    Ok(seccompiler::apply_filter(&program)?)
}
