//! The modules that decide again: kept loaded as on a host, fetched from the store by their digest when they are asked for first.
//! Versions that were deleted still have theirs.

use crate::catalog::Catalog;
use proviso_decide::policy::Lookup;
use proviso_ledger::model::{ids::Digest, resources::ResourceClass};
use proviso_policy::{Module, Runtime};
use proviso_store::Store;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Gives modules to those who decide.
pub(super) struct Modules {
    store: Arc<dyn Store>,
    runtime: Arc<Runtime>,
    /// How much each may use.
    catalog: Arc<Catalog>,
    /// One that need not be in the store.
    candidate: Option<(Digest, Arc<Module>)>,
    /// Those that can't be loaded, and why.
    gone: Mutex<BTreeMap<Digest, String>>,
}

impl Modules {
    pub fn new(store: Arc<dyn Store>, runtime: Arc<Runtime>, catalog: Arc<Catalog>) -> Self {
        Self { store, runtime, catalog, candidate: None, gone: Mutex::default() }
    }

    /// With one that is there in any case.
    pub fn with(self, digest: Digest, module: Arc<Module>) -> Self {
        Self { candidate: Some((digest, module)), ..self }
    }

    /// As far as it can be asked now, in the resource class that its policies have.
    pub fn look_up(&self, digest: &Digest) -> Lookup {
        self.look_up_in(digest, self.catalog.class_of(digest))
    }

    /// The same in this class.
    pub fn look_up_in(&self, digest: &Digest, class: ResourceClass) -> Lookup {
        if let Some((_, module)) = self.candidate.as_ref().filter(|(known, _)| known == digest) {
            return Lookup::Ready(module.clone());
        }
        if let Some(module) = self.runtime.loaded(digest) {
            return Lookup::Ready(match class {
                ResourceClass::Default => module,
                class => Arc::new(module.in_class(class)),
            });
        }
        match self.lock().get(digest) {
            Some(detail) => Lookup::Unavailable(detail.clone()),
            None => Lookup::NotLoaded,
        }
    }

    /// Why a module can't be loaded.
    pub fn why(&self, digest: &Digest) -> String {
        self.lock().get(digest).cloned().unwrap_or_default()
    }

    /// Loads a module, or takes note that it can't be.
    pub async fn load(&self, digest: Digest) {
        let fetched = self.store.module(&digest).await;
        let runtime = self.runtime.clone();
        let loaded = tokio::task::spawn_blocking(move || {
            let fetch = || match fetched {
                Ok(bytes) => bytes.ok_or_else(|| "it is not in the store".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            runtime.load(digest, fetch).map(drop).map_err(|error| match std::error::Error::source(&error) {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            })
        });
        let failed = match loaded.await {
            Ok(Ok(())) => return,
            Ok(Err(detail)) => detail,
            Err(error) => error.to_string(),
        };
        self.lock().insert(digest, failed);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, String>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
