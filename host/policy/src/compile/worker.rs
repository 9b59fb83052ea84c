//! The child's side of a compilation: gives up what it does not need, bounds what it may use, then inspects and compiles one
//! module. The process should do nothing else and exit afterwards.

use super::{
    Request, Response,
    confine::{Bounds, give_up_privileges},
    framed, refused,
};
use crate::{fault::Rejection, inspect::inspect, sandbox::code_config};
use std::{
    io::{self, Read, Write},
    panic::{AssertUnwindSafe, catch_unwind},
};
use wasmtime::Engine;

/// Memory for inspection, whatever the module's size.
pub(super) const INSPECTION_MEMORY_BYTES: u64 = 192 << 20;
/// CPU time for inspection.
const INSPECTION_CPU_SECONDS: u64 = 1;

/// Reads a request, bounds this process, inspects, compiles and answers.
///
/// # Errors
/// When the request is cut short, the limits can't be set, or the answer can't be written.
pub fn compile_worker(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    give_up_privileges()?;
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let mut json = Vec::new();
    input.by_ref().take(u64::from(u32::from_le_bytes(length))).read_to_end(&mut json)?;
    let request: Request = serde_json::from_slice(&json)?;
    Bounds { cpu_seconds: INSPECTION_CPU_SECONDS, memory_bytes: INSPECTION_MEMORY_BYTES }
        .set_within(&bounds(&request))?;
    let mut wasm = Vec::new();
    input.read_to_end(&mut wasm)?;
    // A panic in the parser or the compiler is how some of their own limits show.
    let judged = catch_unwind(AssertUnwindSafe(|| judge(&request, &wasm)));
    let judged = judged.unwrap_or_else(|_| Ok(Err(refused("not_compilable", "the compiler gave up"))))?;
    let (response, code) = match judged {
        Ok((response, code)) => (response, code),
        Err(Rejection(findings)) => {
            (Response::Refused(findings.into_iter().map(Into::into).collect()), Vec::new())
        }
    };
    output.write_all(&framed(&response)?)?;
    output.write_all(&code)?;
    output.flush()
}

const fn bounds(request: &Request) -> Bounds {
    Bounds { cpu_seconds: request.cpu_seconds, memory_bytes: request.memory_bytes }
}

fn judge(request: &Request, wasm: &[u8]) -> io::Result<Result<(Response, Vec<u8>), Rejection>> {
    let shape = match inspect(wasm, &request.limits) {
        Ok(shape) => shape,
        Err(rejection) => return Ok(Err(rejection)),
    };
    let bounds = bounds(request);
    bounds.set_within(&bounds)?;
    let compiled =
        Engine::new(&code_config(&request.limits)).and_then(|engine| engine.precompile_component(wasm));
    Ok(match compiled {
        Ok(code) => Ok((Response::Compiled(shape), code)),
        Err(error) => Err(refused("not_compilable", format!("{error:#}"))),
    })
}
