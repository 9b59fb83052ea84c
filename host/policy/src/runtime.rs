//! Takes modules as bytes and gives [`Module`]s that decide. Keeps a bounded number of them loaded, and their compiled code
//! on disk.

use crate::{
    cache::{Cache, CacheDir},
    compile::{Compile, Compiled, Compiler, Purpose},
    conformance,
    fault::{PolicyError, Rejection},
    limits::Limits,
    module::Module,
    sandbox::Sandbox,
    shape::Shape,
    trusted::Artifact,
};
use lru::LruCache;
use proviso_ledger::model::{ids::Digest, resources::ResourceClass};
use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

/// A module on its way to being loaded, or loaded. Whoever comes second waits for the first instead of compiling too.
type Place = Arc<RwLock<Option<Arc<Module>>>>;

/// Everything that runs policies, once for each process.
pub struct Runtime {
    sandbox: Arc<Sandbox>,
    compile: Compile,
    cache: Option<Cache>,
    loaded: Mutex<LruCache<Digest, Place>>,
}

/// A module that was uploaded and passed.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The policy, loaded.
    pub module: Arc<Module>,
    /// How large it is.
    pub shape: Shape,
    /// How large its native code is, in bytes.
    pub code_bytes: usize,
}

impl Runtime {
    /// Sets up the sandbox, its deadline thread and the cache.
    ///
    /// # Errors
    /// [`PolicyError::Sandbox`] when this machine lacks the address space or the threads for it.
    pub fn new(limits: Limits, cache: Option<CacheDir>, compiler: Compiler) -> Result<Self, PolicyError> {
        let modules = NonZeroUsize::new(limits.loaded_modules).unwrap_or(NonZeroUsize::MIN);
        let sandbox = Arc::new(Sandbox::new(limits)?);
        let cache = cache.map(|dir| Cache::new(dir, &sandbox.engine)).transpose();
        let cache =
            cache.map_err(|error| PolicyError::Sandbox(format!("compiled code can't be kept: {error}")))?;
        Ok(Self {
            sandbox,
            compile: Compile::new(compiler),
            cache,
            loaded: Mutex::new(LruCache::new(modules)),
        })
    }

    /// The limits that hold here.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.sandbox.limits
    }

    /// Takes an uploaded module: inspects it, compiles it, runs it, and keeps it loaded. Blocks for as long as
    /// compilation takes, usually 20 to 100 ms.
    ///
    /// # Errors
    /// [`PolicyError::Rejected`] says what is wrong with the module, and where; [`PolicyError::Busy`] and
    /// [`PolicyError::Compiler`] that it could not be judged.
    pub fn admit(&self, bytes: &[u8]) -> Result<Admitted, PolicyError> {
        self.admit_in(ResourceClass::Default, bytes)
    }

    /// The same for a policy of this class.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub fn admit_in(&self, class: ResourceClass, bytes: &[u8]) -> Result<Admitted, PolicyError> {
        let Compiled { shape, code } = self.compile(class, bytes, Purpose::Upload)?;
        let (digest, code_bytes) = (Digest::of(bytes), code.len());
        // Not kept before it has passed.
        let artifact = Artifact::Made(code);
        conformance::check(&self.module(class, digest, &artifact)?)?;
        let module = Arc::new(self.keep(class, digest, artifact)?.in_class(ResourceClass::Default));
        *self.place(digest).write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&module));
        Ok(Admitted { module, shape, code_bytes })
    }

    /// The module, if it is loaded. Never blocks for long.
    #[must_use]
    pub fn loaded(&self, digest: &Digest) -> Option<Arc<Module>> {
        let place = Arc::clone(lock(&self.loaded).get(digest)?);
        // Someone is loading it: not loaded yet.
        let module = place.try_read().ok()?;
        module.as_ref().map(Arc::clone)
    }

    /// The module of a digest: from memory, else from the cache on disk, else compiled from the bytes that `fetch`
    /// brings. Blocks for as long as that takes.
    ///
    /// # Errors
    /// When the bytes can't be fetched, are others than expected, or are refused.
    pub fn load<E>(
        &self,
        digest: Digest,
        fetch: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Arc<Module>, PolicyError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let place = self.place(digest);
        let mut place = place.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = &*place {
            return Ok(Arc::clone(module));
        }
        let module = match self.load_kept(digest) {
            Some(module) => module,
            None => self.load_fetched(digest, fetch().map_err(|error| PolicyError::Fetch(error.into()))?)?,
        };
        Ok(Arc::clone(place.insert(Arc::new(module))))
    }

    fn load_kept(&self, digest: Digest) -> Option<Module> {
        let cache = self.cache.as_ref()?;
        let artifact = cache.get(&digest)?;
        self.trusted(digest, &artifact).inspect_err(|_| cache.forget(&digest)).ok()
    }

    fn load_fetched(&self, digest: Digest, bytes: Vec<u8>) -> Result<Module, PolicyError> {
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(PolicyError::DigestMismatch { expected: digest, found });
        }
        // It passed in whichever class its policy had.
        let code = self.compile(ResourceClass::Large, &bytes, Purpose::Load)?.code;
        let module = self.keep(ResourceClass::Large, digest, Artifact::Made(code))?;
        Ok(module.in_class(ResourceClass::Default))
    }

    fn compile(&self, class: ResourceClass, bytes: &[u8], purpose: Purpose) -> Result<Compiled, PolicyError> {
        self.compile.run(&self.sandbox.engine, &self.sandbox.limits, class, bytes, purpose)
    }

    /// Loads code that was just made, from disk if it can be kept and mapped there.
    fn keep(&self, class: ResourceClass, digest: Digest, artifact: Artifact) -> Result<Module, Rejection> {
        if let (Some(cache), Artifact::Made(code)) = (&self.cache, &artifact)
            && let Some(kept) = cache.put(&digest, code)
        {
            match self.module(class, digest, &kept) {
                Ok(module) => return Ok(module),
                // A file system that forbids to map code, for example: no fault of the module.
                Err(rejection) => {
                    tracing::warn!(%digest, %rejection, "compiled policy can't be loaded from the cache");
                    cache.forget(&digest);
                }
            }
        }
        self.module(class, digest, &artifact)
    }

    /// A module that passed earlier, in whichever class its policy had.
    fn trusted(&self, digest: Digest, artifact: &Artifact) -> Result<Module, Rejection> {
        let module = self.module(ResourceClass::Large, digest, artifact)?;
        Ok(module.in_class(ResourceClass::Default))
    }

    fn module(&self, class: ResourceClass, digest: Digest, artifact: &Artifact) -> Result<Module, Rejection> {
        Module::new(Arc::clone(&self.sandbox), class, digest, artifact)
    }

    fn place(&self, digest: Digest) -> Place {
        Arc::clone(lock(&self.loaded).get_or_insert(digest, Place::default))
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("compile", &self.compile).finish_non_exhaustive()
    }
}

/// A panic while a lock was held leaves a map or a place that is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
