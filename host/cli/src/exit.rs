//! The exit codes, which scripts may rely on.

use std::process::ExitCode;

/// All is fine.
pub const FINE: u8 = 0;
/// The thing asked about failed: a build, a test, a verification, a host that could not start.
pub const FAILED: u8 = 1;
/// The command line makes no sense: clap's own code.
pub const USAGE: u8 = 2;

/// Of `diff`: something would change.
pub const DIFFERS: u8 = 2;

/// How a verb that could do its work answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Fine,
    /// No; it has said why.
    Failed,
    /// It would change something, which it has shown.
    Differs,
}

impl Verdict {
    /// Fine when `fine` holds.
    pub fn of(fine: bool) -> Self {
        if fine { Self::Fine } else { Self::Failed }
    }
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Fine => FINE.into(),
            Verdict::Failed => FAILED.into(),
            Verdict::Differs => DIFFERS.into(),
        }
    }
}
