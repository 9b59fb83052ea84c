//! How things fail: a module that is refused, a call that ends badly, a sandbox that can't be set up. What to do about a
//! failed call (`on_fault`) is decided elsewhere.

use proviso_decide::policy::Failure;
use proviso_ledger::model::ids::Digest;
use std::fmt;

/// Why this crate could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The module is not a policy that may run here.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The bytes that were fetched for a digest have another one.
    #[error("the module stored as {expected} has the digest {found}")]
    DigestMismatch {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The module's bytes could not be fetched.
    #[error("the module could not be fetched")]
    Fetch(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The compiler can't be started or does not work on this machine; the module may be fine.
    #[error("policies can't be compiled here: {0}")]
    Compiler(String),
    /// As many modules are being compiled, and wait for it, as may be. Asking again later helps.
    #[error("too many modules are being compiled")]
    Busy,
    /// The sandbox could not be set up on this machine.
    #[error("the sandbox could not be set up: {0}")]
    Sandbox(String),
}

/// Why a module is refused: every reason that was found, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection(pub Vec<Finding>);

/// One reason to refuse a module: what is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// For machines, such as `too_many_functions`.
    pub code: &'static str,
    /// Where: a byte offset, an import, an export, a call.
    pub place: String,
    /// For people.
    pub detail: String,
}

impl Rejection {
    pub(crate) fn one(code: &'static str, place: impl Into<String>, detail: impl Into<String>) -> Self {
        Self(vec![Finding { code, place: place.into(), detail: detail.into() }])
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.0.iter().enumerate() {
            write!(f, "{}{finding}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejection {}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.detail)
    }
}

/// A call that ended without a result that the host accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub(crate) struct Fault {
    /// Why.
    #[source]
    pub(crate) cause: Cause,
    /// Fuel burnt until then.
    pub(crate) fuel: u64,
    /// What the policy logged until then.
    pub(crate) log: Vec<String>,
}

impl Fault {
    /// A stable name of the cause, such as `out_of_fuel`.
    pub(crate) const fn code(&self) -> &'static str {
        self.cause.code()
    }
}

impl From<Fault> for Failure {
    fn from(Fault { cause, fuel, log }: Fault) -> Self {
        Self { code: cause.code(), detail: cause.to_string(), fuel, log }
    }
}

/// Why a call ended badly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cause {
    /// It burnt all its fuel.
    #[error("out of fuel: more than {limit} units")]
    OutOfFuel {
        /// What it had.
        limit: u64,
    },
    /// It took longer than fuel alone explains; may not happen again on another run.
    #[error("stopped at the deadline of {limit_ms} ms")]
    Deadline {
        /// What it had.
        limit_ms: u64,
    },
    /// It asked for more linear memory than it may have.
    #[error("asked for {asked_bytes} bytes of memory, the limit is {limit_bytes}")]
    MemoryLimit {
        /// The size it asked for.
        asked_bytes: usize,
        /// The largest size it may have.
        limit_bytes: usize,
    },
    /// It asked for a larger table than it may have.
    #[error("asked for a table of {asked} elements, the limit is {limit}")]
    TableLimit {
        /// The elements it asked for.
        asked: usize,
        /// The most it may have.
        limit: usize,
    },
    /// Its calls were nested too deep.
    #[error("call stack exhausted")]
    StackOverflow,
    /// It trapped: a panic, a division by zero, an access out of bounds.
    #[error("trapped: {what}{}", frames(.functions))]
    Trap {
        /// What trapped.
        what: String,
        /// The functions it was in, innermost first, by the names the module gives them.
        functions: Vec<String>,
    },
    /// It handed the host more than it may.
    #[error("handed over more than {limit_bytes} bytes")]
    OutputTooLarge {
        /// What it may hand over.
        limit_bytes: usize,
    },
    /// What it returned is not what the interface promises.
    #[error("invalid output: {what}")]
    InvalidOutput {
        /// What is wrong, and where in the result.
        what: String,
    },
}

impl Cause {
    const fn code(&self) -> &'static str {
        match self {
            Self::OutOfFuel { .. } => "out_of_fuel",
            Self::Deadline { .. } => "deadline_exceeded",
            Self::MemoryLimit { .. } => "memory_limit",
            Self::TableLimit { .. } => "table_limit",
            Self::StackOverflow => "stack_overflow",
            Self::Trap { .. } => "trap",
            Self::OutputTooLarge { .. } => "output_too_large",
            Self::InvalidOutput { .. } => "invalid_output",
        }
    }
}

fn frames(functions: &[String]) -> String {
    if functions.is_empty() { String::new() } else { format!(" in {}", functions.join(" < ")) }
}
