//! Why a verb could not do its work. Printed once, in `main`, with what caused it.

use crate::verbs::policy::text;
use proviso_decide::policy::Failure;
use proviso_engine::{EngineError, StoreError};
use proviso_policy::{PolicyError, Rejection, build::BuildError};
use std::{io, path::PathBuf};

/// The one error of the binary.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting makes no sense.
    #[error("{origin}: {detail}")]
    Setting {
        /// The flag, the variable or the file.
        origin: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A file or folder can't be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {detail}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The system does not give what the verb needs.
    #[error("{what}: {source}")]
    System {
        /// What was asked of it.
        what: String,
        /// What it says.
        source: io::Error,
    },
    /// No policy came of a build.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The sandbox could not be set up.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A module is refused.
    #[error("the module is refused:{}", listed(.0))]
    Refused(Rejection),
    /// A policy failed.
    #[error("the policy failed: {}", text::fault(.0.code, &.0.detail, &.0.log).join("\n  "))]
    Failed(#[from] Failure),
    /// The engine could not do it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A server refused something, or could not be asked.
    #[error("{0}")]
    Server(String),
    /// The demo found its host in a state that it can't go on from.
    #[error("{0}")]
    Demo(String),
}

impl Error {
    /// A module that is refused, or that can't be tried here.
    pub fn refused(error: PolicyError) -> Self {
        match error {
            PolicyError::Rejected(rejection) => Self::Refused(rejection),
            other => Self::Policy(other),
        }
    }

    /// For `map_err`, with the path that it is about.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// For `map_err`, with what was asked of the system.
    pub fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }

    /// For `map_err`, with the file that can't be understood.
    pub fn content<E: ToString>(path: impl Into<PathBuf>) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |error| Self::Content { path, detail: error.to_string() }
    }
}

fn listed(rejection: &Rejection) -> String {
    rejection.0.iter().map(|finding| format!("\n  {} ({})", finding, finding.code)).collect()
}
