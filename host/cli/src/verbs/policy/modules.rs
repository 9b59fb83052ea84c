//! Policies that are built, admitted as a server would, and loaded. What was admitted once is kept as native code between runs, so
//! that an unchanged module is neither tried nor compiled again.

use super::{
    limits, source,
    test::{Loaded, Subject},
};
use crate::{config, error::Error, secrets};
use proviso_ledger::model::{ids::Digest, resources::ResourceClass};
use proviso_policy::{CacheDir, Compiler, PolicyError, Runtime, class_for, inspect};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

/// How many modules' code is kept.
const KEPT: usize = 64;

/// Where modules run.
pub struct Modules {
    runtime: Runtime,
    class: Option<ResourceClass>,
}

impl Modules {
    /// With what earlier runs kept. Each policy has the least class that takes it, of default and large.
    pub fn new() -> Result<Self, Error> {
        Self::of(None)
    }

    /// The same, with this class for each policy.
    pub fn of(class: Option<ResourceClass>) -> Result<Self, Error> {
        Ok(Self { runtime: Runtime::new(limits(), cache(), Compiler::InProcess)?, class })
    }

    /// The policy of a crate's folder, which is built, or of a file.
    pub fn load(&self, path: &Path) -> Result<Loaded, Error> {
        self.take(&source::load(path)?)
    }

    /// A policy alone, as the one under test.
    pub fn subject(&self, path: &Path) -> Result<Subject, Error> {
        let Loaded { digest, policy } = self.load(path)?;
        Ok(Subject::new(digest, policy))
    }

    /// A policy as bytes.
    pub fn take(&self, component: &[u8]) -> Result<Loaded, Error> {
        let digest = Digest::of(component);
        let class = match self.class {
            Some(class) => class,
            None => class_for(component, self.runtime.limits()).map_err(Error::Refused)?,
        };
        // Code is kept only of modules that were admitted, by this very version.
        let kept = self.runtime.load(digest, || Err::<Vec<u8>, _>(io::Error::from(io::ErrorKind::NotFound)));
        let module = match kept {
            Ok(module) => {
                // It may have been admitted as one of a class that may be larger.
                if self.class.is_some_and(|class| class != ResourceClass::Large) {
                    inspect(component, self.runtime.limits()).map_err(Error::Refused)?;
                }
                module
            }
            Err(PolicyError::Fetch(_)) => {
                self.runtime.admit_in(class, component).map_err(Error::refused)?.module
            }
            Err(other) => return Err(Error::refused(other)),
        };
        Ok(Loaded { digest, policy: Arc::new(module.in_class(class)) })
    }
}

/// A folder of the user's for native code, with the key that authenticates it. Without one, all is compiled each time.
pub fn cache() -> Option<CacheDir> {
    let folder = config::variable("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = folder.or_else(|| Some(PathBuf::from(config::variable("HOME")?).join(".cache")))?;
    let path = folder.join("proviso").join(concat!("policies-", env!("CARGO_PKG_VERSION")));
    fs::create_dir_all(&path).ok()?;
    let key = secrets::key_file(&path.join("key")).ok()?;
    forget_oldest(&path);
    Some(CacheDir { path, key })
}

/// Keeps the folder from growing with every build.
fn forget_oldest(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let code = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "cwasm"));
    let written = |entry: &fs::DirEntry| entry.metadata().and_then(|about| about.modified());
    let mut files: Vec<(SystemTime, PathBuf)> =
        code.map(|entry| (written(&entry).unwrap_or(SystemTime::UNIX_EPOCH), entry.path())).collect();
    files.sort();
    let many = files.len().saturating_sub(KEPT);
    for (_, path) in files.into_iter().take(many) {
        // One that stays is forgotten another time.
        let _ = fs::remove_file(path);
    }
}
