//! What all lanes and use cases share: the store, the policies, the catalog and the clock.

use crate::{catalog::Catalog, clock::Clock, error::EngineError};
use arc_swap::ArcSwap;
use proviso_ledger::{
    error::FoldError,
    ids::{CustomerId, Digest, Seq},
    journal::Entry,
};
use proviso_policy::{Module, Runtime};
use proviso_store::Store;
use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::RwLock;

/// How the engine runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Lanes: one for each core is enough.
    pub lanes: NonZeroUsize,
    /// Requests that may wait in one lane before more are turned away.
    pub queue: usize,
    /// The most requests of a lane that wait for one transaction.
    pub largest_batch: NonZeroUsize,
    /// Customers whose state is kept in memory.
    pub cached_customers: usize,
    /// How late a usage may be reported.
    pub late_window: Duration,
    /// How often the sweeper looks for what is due.
    pub sweep_every: Duration,
    /// How often it is looked for changes that other hosts made to plans, policies and API keys. A charge notices them in
    /// any case.
    pub refresh_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lanes: NonZeroUsize::MIN,
            queue: 4_096,
            largest_batch: NonZeroUsize::MIN.saturating_add(511),
            cached_customers: 100_000,
            late_window: Duration::from_secs(35 * 86_400),
            sweep_every: Duration::from_secs(1),
            refresh_every: Duration::from_millis(100),
        }
    }
}

impl Options {
    pub(crate) fn late_window_micros(&self) -> i64 {
        i64::try_from(self.late_window.as_micros()).unwrap_or(i64::MAX)
    }

    pub(crate) fn cached_customers_per_lane(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.cached_customers / self.lanes).unwrap_or(NonZeroUsize::MIN)
    }
}

pub(crate) struct Shared {
    pub store: Arc<dyn Store>,
    pub runtime: Arc<Runtime>,
    pub clock: Clock,
    pub options: Options,
    pub catalog: ArcSwap<Catalog>,
    /// Held for reading while a request is decided, for writing while the catalog changes: so each decision's time and
    /// its terms belong together.
    pub gate: RwLock<()>,
    pub totals: Totals,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Totals {
    entries: AtomicU64,
    batches: AtomicU64,
    conflicts: AtomicU64,
}

impl Totals {
    /// Counts a durable batch.
    pub(crate) fn committed(&self, entries: u64) {
        self.entries.fetch_add(entries, Ordering::Relaxed);
        self.batches.fetch_add(u64::from(entries > 0), Ordering::Relaxed);
    }

    /// Counts a batch that has to be decided again.
    pub(crate) fn conflicted(&self) {
        self.conflicts.fetch_add(1, Ordering::Relaxed);
    }

    /// Durable entries.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Transactions that made them durable.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Batches that were decided again, since another host had written one of their customers or the catalog had changed.
    pub fn conflicts(&self) -> u64 {
        self.conflicts.load(Ordering::Relaxed)
    }
}

impl Shared {
    pub fn new(
        store: Arc<dyn Store>,
        runtime: Arc<Runtime>,
        clock: Clock,
        options: Options,
        catalog: Catalog,
    ) -> Self {
        Self {
            store,
            runtime,
            clock,
            options,
            catalog: ArcSwap::from_pointee(catalog),
            gate: RwLock::new(()),
            totals: Totals::default(),
        }
    }

    /// Reads the catalog anew if another host has changed it, so that later decisions run on the new one.
    pub async fn refresh_catalog(&self) -> Result<(), EngineError> {
        if !self.store.is_shared() || self.store.catalog_revision().await? == self.catalog.load().revision {
            return Ok(());
        }
        let _gate = self.gate.write().await;
        self.read_catalog().await
    }

    /// Reads what is new in the catalog, while the gate is held for writing.
    pub async fn read_catalog(&self) -> Result<(), EngineError> {
        let known = self.catalog.load_full();
        let catalog = known.updated(self.store.catalog(known.revision).await?)?;
        self.catalog.store(Arc::new(catalog));
        Ok(())
    }

    /// One entry of a journal, which must be there.
    pub async fn entry(&self, customer: &CustomerId, seq: Seq) -> Result<Arc<Entry>, EngineError> {
        let stored = self.store.entries(customer, seq.saturating_sub(1), 1).await?;
        let damaged = |error| EngineError::Damaged(customer.clone(), error);
        match stored.first() {
            Some(stored) if stored.seq == seq => {
                Ok(Arc::new(Entry::parse(seq, &stored.body).map_err(damaged)?))
            }
            found => {
                Err(damaged(FoldError::Gap { expected: seq, found: found.map_or(0, |stored| stored.seq) }))
            }
        }
    }

    /// Makes a module ready to decide, from memory, disk or the store.
    pub async fn load_module(&self, digest: Digest) -> Result<Arc<Module>, EngineError> {
        if let Some(module) = self.runtime.loaded(&digest) {
            return Ok(module);
        }
        let (runtime, store) = (self.runtime.clone(), self.store.clone());
        let here = tokio::runtime::Handle::current();
        let loaded = tokio::task::spawn_blocking(move || {
            runtime.load(digest, || match here.block_on(store.module(&digest)) {
                Ok(bytes) => bytes.ok_or_else(|| format!("module {digest} is not in the store")),
                Err(error) => Err(error.to_string()),
            })
        });
        match loaded.await {
            Ok(Ok(module)) => Ok(module),
            Ok(Err(error)) => Err(EngineError::Module(error.to_string())),
            Err(error) => Err(EngineError::Internal(format!("loading a module failed: {error}"))),
        }
    }
}
