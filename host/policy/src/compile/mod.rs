//! Turns a module into native code, in a process of its own that inspects it first and may be killed: a hostile module can
//! make a parser or a compiler slow or make it take much memory, and the server must survive that.

mod child;
mod confine;
mod queue;
mod worker;

pub(crate) use queue::Purpose;
pub use worker::compile_worker;

use crate::{
    fault::{Finding, PolicyError, Rejection},
    inspect::inspect,
    limits::Limits,
    shape::Shape,
};
use proviso_ledger::model::resources::ResourceClass;
use queue::Queue;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use wasmtime::Engine;

/// Where modules are inspected and compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compiler {
    /// In this process, without bounds: for modules that one trusts, such as one's own on a laptop.
    InProcess,
    /// In child processes that call [`compile_worker`], have no environment, descriptors or privileges of this one, and are
    /// bounded in what they use.
    Child {
        /// The program, usually this one.
        program: PathBuf,
        /// The arguments that lead it to [`compile_worker`].
        args: Vec<String>,
        /// Its whole environment.
        env: Vec<(String, String)>,
        /// CPU time after which the kernel kills it. Wall time does not count, so that the verdict does not depend on what
        /// else the machine does.
        cpu_seconds: u64,
        /// Memory that it may take for the largest module. A smaller module may take less.
        memory_bytes: u64,
        /// Children at once, at least one.
        at_once: usize,
        /// Uploads that wait for one to end; more are told that the compiler is busy.
        waiting: usize,
    },
}

/// A module that passed inspection and was compiled.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) shape: Shape,
    pub(crate) code: Vec<u8>,
}

/// Inspects and compiles, a bounded number of modules at once.
#[derive(Debug)]
pub(crate) struct Compile {
    compiler: Compiler,
    queue: Queue,
}

impl Compile {
    pub(crate) fn new(compiler: Compiler) -> Self {
        let queue = match compiler {
            Compiler::InProcess => Queue::new(usize::MAX, usize::MAX),
            Compiler::Child { at_once, waiting, .. } => Queue::new(at_once, waiting),
        };
        Self { compiler, queue }
    }

    pub(crate) fn run(
        &self,
        engine: &Engine,
        limits: &Limits,
        class: ResourceClass,
        wasm: &[u8],
        purpose: Purpose,
    ) -> Result<Compiled, PolicyError> {
        let of_class = Limits { shape: limits.shape(class), ..limits.clone() };
        // Nothing is read of what is too large.
        Shape { bytes: wasm.len() as u64, ..Shape::default() }.within(&of_class.shape)?;
        let _slot = self.queue.enter(purpose).ok_or(PolicyError::Busy)?;
        match &self.compiler {
            Compiler::InProcess => {
                let shape = inspect(wasm, &of_class)?;
                let code = engine
                    .precompile_component(wasm)
                    .map_err(|error| refused("not_compilable", format!("{error:#}")))?;
                Ok(Compiled { shape, code })
            }
            Compiler::Child { program, args, env, cpu_seconds, memory_bytes, .. } => {
                let request = Request {
                    memory_bytes: memory_for(wasm.len() as u64, limits, *memory_bytes),
                    limits: of_class,
                    cpu_seconds: *cpu_seconds,
                };
                let child = child::start(program, args, env)?;
                child::converse(child, &request, wasm)
            }
        }
    }
}

/// Memory that a module of a size may take: what the largest of the default class may, in proportion, above what any process
/// needs.
fn memory_for(bytes: u64, limits: &Limits, most: u64) -> u64 {
    let least = worker::INSPECTION_MEMORY_BYTES.min(most);
    let share = u128::from(most - least) * u128::from(bytes) / u128::from(limits.shape.bytes.max(1));
    least + u64::try_from(share).unwrap_or(u64::MAX).min(most - least)
}

/// What a child is asked, as JSON behind its length in four bytes; the module follows up to the end of the stream.
#[derive(Serialize, Deserialize)]
struct Request {
    limits: Limits,
    cpu_seconds: u64,
    memory_bytes: u64,
}

/// What a child answers, as JSON behind its length; the code follows where there is one.
#[derive(Serialize, Deserialize)]
enum Response {
    Compiled(Shape),
    Refused(Vec<Found>),
}

/// A finding on the wire.
#[derive(Serialize, Deserialize)]
struct Found {
    code: String,
    place: String,
    detail: String,
}

impl From<Finding> for Found {
    fn from(Finding { code, place, detail }: Finding) -> Self {
        Self { code: code.to_owned(), place, detail }
    }
}

impl From<Found> for Finding {
    fn from(Found { code, place, detail }: Found) -> Self {
        Self { code: known_code(&code), place, detail }
    }
}

/// The code of a finding of inspection or compilation.
fn known_code(code: &str) -> &'static str {
    const CODES: [&str; 25] = [
        "compile_limit",
        "foreign_export",
        "foreign_import",
        "foreign_instance",
        "function_too_large",
        "internal",
        "links_too_large",
        "malformed",
        "memory_too_large",
        "missing_export",
        "module_too_large",
        "nested_too_deep",
        "never_instantiated",
        "not_a_component",
        "not_compilable",
        "table_too_large",
        "too_many_functions",
        "too_many_globals",
        "too_many_instances",
        "too_many_locals",
        "too_many_memories",
        "too_many_modules",
        "too_many_tables",
        "types_nested_too_deep",
        "wrong_type",
    ];
    // A child of another version may know others; what it refused stays refused.
    CODES.into_iter().find(|known| *known == code).unwrap_or("refused")
}

fn refused(code: &'static str, detail: impl Into<String>) -> Rejection {
    Rejection::one(code, "compilation", detail)
}

fn unavailable(detail: impl Into<String>) -> PolicyError {
    PolicyError::Compiler(detail.into())
}

/// JSON behind its length.
fn framed(message: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
    Ok([&length.to_le_bytes(), json.as_slice()].concat())
}
