//! The process that compiles one module and ends: a request on stdin, code on stdout. Hidden: the server starts it, so
//! that a hostile module can take down nothing but this.

use crate::{error::Error, exit::Verdict};
use proviso_policy::Compiler;
use std::{io, num::NonZeroUsize, path::PathBuf};

/// The verb.
pub const NAME: &str = "compile-worker";

/// CPU seconds for one module; the largest that is taken needs a few.
const CPU_SECONDS: u64 = 20;
/// Memory for the largest module.
const MEMORY_BYTES: u64 = 2 << 30;
/// How much compiling gives way to the host.
const NICENESS: i32 = 10;
/// Uploads that wait for a compiler.
const WAITING: usize = 16;
/// Makes the allocator take memory as it is used, so that the kernel's limit counts what is used.
const ALLOCATOR: (&str, &str) = ("MIMALLOC_ARENA_EAGER_COMMIT", "0");

/// The compiler that starts this process's own program again.
pub fn compiler() -> Result<Compiler, Error> {
    // By this link the running program is found even after its file was replaced by a newer one.
    let link = PathBuf::from("/proc/self/exe");
    let program = if link.exists() {
        link
    } else {
        std::env::current_exe().map_err(Error::system("the path of this program"))?
    };
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let (name, value) = ALLOCATOR;
    Ok(Compiler::Child {
        program,
        args: vec![NAME.to_owned()],
        env: vec![(name.to_owned(), value.to_owned())],
        cpu_seconds: CPU_SECONDS,
        memory_bytes: MEMORY_BYTES,
        at_once: processors.div_ceil(2),
        waiting: WAITING,
    })
}

/// Compiles.
pub fn run() -> Result<Verdict, Error> {
    // Requests that are being answered come first. Where this is not allowed, they share.
    let _ = rustix::process::nice(NICENESS);
    proviso_policy::compile_worker(io::stdin().lock(), io::stdout().lock())
        .map_err(Error::system("compiling a module"))?;
    Ok(Verdict::Fine)
}
