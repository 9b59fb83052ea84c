//! Turns an inspected module into native code, in a process of its own that may be killed: a hostile module can make a
//! compiler slow or make it take much memory, and the server must survive that.

use crate::{
    fault::{PolicyError, Rejection},
    limits::Limits,
    sandbox::code_config,
};
use std::{
    io::{self, Read, Write},
    panic::catch_unwind,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    time::Duration,
};
use wasmtime::Engine;

/// Native code is larger than its WebAssembly, but not without end.
const ARTIFACT_BYTES: u64 = 64 << 20;

/// Where compilation runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compiler {
    /// In this process, without bounds: for modules that one trusts, such as one's own on a laptop.
    InProcess,
    /// In a child process that calls [`compile_worker`].
    Child {
        /// The program, usually this one.
        program: PathBuf,
        /// The arguments that lead it to [`compile_worker`].
        args: Vec<String>,
        /// CPU time after which the kernel kills it.
        cpu_seconds: u64,
        /// Address space that it may take.
        memory_bytes: u64,
        /// Wall time after which it is killed.
        wall_timeout: Duration,
    },
}

impl Compiler {
    pub(crate) fn compile(&self, engine: &Engine, wasm: &[u8]) -> Result<Vec<u8>, PolicyError> {
        Ok(match self {
            Self::InProcess => engine
                .precompile_component(wasm)
                .map_err(|error| refused("not_compilable", format!("{error:#}")))?,
            Self::Child { program, args, cpu_seconds, memory_bytes, wall_timeout } => {
                let child = Command::new(program)
                    .args(args)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .map_err(|error| unavailable(format!("the compiler did not start: {error}")))?;
                let mut request = Vec::with_capacity(wasm.len() + 16);
                request.extend_from_slice(&cpu_seconds.to_le_bytes());
                request.extend_from_slice(&memory_bytes.to_le_bytes());
                request.extend_from_slice(wasm);
                converse(child, request, *wall_timeout)?
            }
        })
    }
}

fn refused(code: &'static str, detail: impl Into<String>) -> PolicyError {
    Rejection::one(code, "compilation", detail).into()
}

fn unavailable(detail: impl Into<String>) -> PolicyError {
    PolicyError::Compiler(detail.into())
}

/// Sends the request, waits for the answer, and leaves no process behind.
fn converse(mut child: Child, request: Vec<u8>, wall_timeout: Duration) -> Result<Vec<u8>, PolicyError> {
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(unavailable("the compiler has no pipes"));
    };
    let (answered, answer) = channel();
    // Both threads end when the child does, since its ends of the pipes close with it.
    std::thread::spawn(move || {
        // A child that dies early closes the pipe; its exit says more than this write could.
        let _ = stdin.write_all(&request);
    });
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.take(ARTIFACT_BYTES + 1).read_to_end(&mut bytes);
        let _ = answered.send(read.map(|_| bytes));
    });
    let bytes = match answer.recv_timeout(wall_timeout) {
        Ok(Ok(bytes)) if bytes.len() as u64 <= ARTIFACT_BYTES => bytes,
        Ok(Ok(_)) => {
            end(&mut child);
            return Err(refused("compile_limit", format!("its code is larger than {ARTIFACT_BYTES} bytes")));
        }
        Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => {
            end(&mut child);
            return Err(unavailable("the compiler's answer could not be read"));
        }
        Err(RecvTimeoutError::Timeout) => {
            end(&mut child);
            return Err(refused(
                "compile_limit",
                format!("took longer than {} ms", wall_timeout.as_millis()),
            ));
        }
    };
    let status = child.wait().map_err(|error| unavailable(error.to_string()))?;
    match (status.success(), status.code(), bytes.split_first()) {
        (true, _, Some((&ANSWER_CODE, code))) => Ok(code.to_vec()),
        (true, _, Some((&ANSWER_ERROR, message))) => {
            Err(refused("not_compilable", String::from_utf8_lossy(message)))
        }
        // No exit code: killed by a signal, which is how the kernel enforces both limits.
        (false, None, _) => {
            Err(refused("compile_limit", "took more CPU time or memory than compilation may"))
        }
        (_, status, _) => Err(unavailable(format!("the compiler ended with status {status:?}"))),
    }
}

fn end(child: &mut Child) {
    // Either may fail only because the child has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

const ANSWER_CODE: u8 = 0;
const ANSWER_ERROR: u8 = 1;

/// The child's side: reads a request, bounds itself, compiles, answers. The process should do nothing else and exit
/// afterwards.
///
/// # Errors
/// When the request is cut short, the limits can't be set, or the answer can't be written.
pub fn compile_worker(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let cpu_seconds = read_u64(&mut input)?;
    let memory_bytes = read_u64(&mut input)?;
    rlimit::setrlimit(rlimit::Resource::CPU, cpu_seconds, cpu_seconds)?;
    rlimit::setrlimit(rlimit::Resource::AS, memory_bytes, memory_bytes)?;
    rlimit::setrlimit(rlimit::Resource::CORE, 0, 0)?;
    let mut wasm = Vec::new();
    input.read_to_end(&mut wasm)?;
    let (kind, answer) = match catch_unwind(|| compile(&wasm)) {
        Ok(Ok(code)) => (ANSWER_CODE, code),
        Ok(Err(error)) => (ANSWER_ERROR, format!("{error:#}").into_bytes()),
        Err(_) => (ANSWER_ERROR, b"the compiler gave up".to_vec()),
    };
    output.write_all(&[kind])?;
    output.write_all(&answer)?;
    output.flush()
}

fn compile(wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
    Engine::new(&code_config(&Limits::default()))?.precompile_component(wasm)
}

fn read_u64(input: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    input.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
