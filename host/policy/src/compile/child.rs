//! The server's side of a compilation: starts a child, sends it the module, and reads the answer or how the child ended.

use super::{Compiled, Request, Response, framed, refused, unavailable};
use crate::fault::{PolicyError, Rejection};
use std::{
    io::{self, Read, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    time::Duration,
};

/// Native code is larger than its WebAssembly, but not without end.
const RESPONSE_BYTES: u64 = 64 << 20;
/// How much longer than its CPU time a child may take before it is given up as stopped. It says nothing of the module.
const STALLED: u32 = 60;

pub(super) fn start(program: &Path, args: &[String], env: &[(String, String)]) -> Result<Child, PolicyError> {
    Command::new(program)
        .args(args)
        .env_clear()
        .envs(env.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| unavailable(format!("the compiler did not start: {error}")))
}

/// Sends the request, waits for the answer, and leaves no process behind.
pub(super) fn converse(mut child: Child, request: &Request, wasm: &[u8]) -> Result<Compiled, PolicyError> {
    let answer = ask(&mut child, request, wasm);
    if answer.is_err() {
        // It may have ended already.
        let _ = child.kill();
    }
    let status = end(&mut child).map_err(|error| unavailable(error.to_string()))?;
    let answer = answer?;
    if !status.success() {
        return Err(ending(status));
    }
    let (response, code) =
        parse(&answer).ok_or_else(|| unavailable("the compiler's answer could not be read"))?;
    match response {
        Response::Compiled(shape) => Ok(Compiled { shape, code: code.to_vec() }),
        Response::Refused(found) => Err(Rejection(found.into_iter().map(Into::into).collect()).into()),
    }
}

/// Waits for a child that has closed its output, and kills it when it does not end.
fn end(child: &mut Child) -> io::Result<ExitStatus> {
    const STEP: Duration = Duration::from_millis(5);
    for _ in 0..400 {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(STEP);
    }
    // It may have ended in between.
    let _ = child.kill();
    child.wait()
}

fn ask(child: &mut Child, request: &Request, wasm: &[u8]) -> Result<Vec<u8>, PolicyError> {
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(unavailable("the compiler has no pipes"));
    };
    let mut message = framed(request).map_err(|error| unavailable(error.to_string()))?;
    message.extend_from_slice(wasm);
    let (answered, answer) = channel();
    // Both threads end when the child does, since its ends of the pipes close with it.
    std::thread::spawn(move || {
        // A child that dies early closes the pipe; its exit says more than this write could.
        let _ = stdin.write_all(&message);
    });
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.take(RESPONSE_BYTES + 1).read_to_end(&mut bytes);
        let _ = answered.send(read.map(|_| bytes));
    });
    let patience = Duration::from_secs(request.cpu_seconds.max(1)).saturating_mul(STALLED);
    match answer.recv_timeout(patience) {
        Ok(Ok(bytes)) if bytes.len() as u64 <= RESPONSE_BYTES => Ok(bytes),
        Ok(Ok(_)) => {
            Err(refused("compile_limit", format!("its code is larger than {RESPONSE_BYTES} bytes")).into())
        }
        Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => {
            Err(unavailable("the compiler's answer could not be read"))
        }
        Err(RecvTimeoutError::Timeout) => {
            Err(unavailable(format!("the compiler did not answer within {} s", patience.as_secs())))
        }
    }
}

fn parse(answer: &[u8]) -> Option<(Response, &[u8])> {
    let (length, rest) = answer.split_first_chunk()?;
    let (json, code) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    Some((serde_json::from_slice(json).ok()?, code))
}

/// What it means that a child ended without an answer.
#[cfg(unix)]
fn ending(status: ExitStatus) -> PolicyError {
    use std::os::unix::process::ExitStatusExt;
    const SIGILL: i32 = 4;
    const SIGABRT: i32 = 6;
    const SIGBUS: i32 = 7;
    const SIGSEGV: i32 = 11;
    const SIGXCPU: i32 = 24;
    match status.signal() {
        Some(SIGXCPU) => refused("compile_limit", "took more CPU time than it may").into(),
        // How Rust ends when memory can't be had.
        Some(SIGABRT) => refused("compile_limit", "took more memory than it may").into(),
        Some(SIGSEGV | SIGILL | SIGBUS) => refused("not_compilable", "the compiler crashed").into(),
        // Someone else ended it, perhaps for want of memory on the machine.
        Some(signal) => unavailable(format!("the compiler was ended by signal {signal}")),
        None => unavailable(format!("the compiler ended with status {:?}", status.code())),
    }
}

#[cfg(not(unix))]
fn ending(status: ExitStatus) -> PolicyError {
    unavailable(format!("the compiler ended with status {:?}", status.code()))
}
