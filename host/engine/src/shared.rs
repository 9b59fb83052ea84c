//! What all lanes and use cases share: the store, the policies, the catalog and the clock.

use crate::{
    catalog::Catalog, checkpoint::CheckpointOptions, clock::Clock, error::EngineError, fault_log::FaultLog,
    formats::Formats, health::WriteHealth, rollout::Rollouts, rollup::news::News, signatures::PolicyKey,
    stats::EngineStats, workers::Workers,
};
use arc_swap::ArcSwap;
use proviso_decide::policy::Lookup;
use proviso_ledger::{
    fold::FoldError,
    journal::Entry,
    model::{
        ids::{CustomerId, Digest, Seq},
        resources::ResourceClass,
    },
    state::LATE_WINDOW,
};
use proviso_policy::{Module, Runtime};
use proviso_store::Store;
use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::RwLock;

/// What a thread that decides needs beside the stack of a policy's frames.
const STACK_BYTES_BESIDE: usize = 2 << 20;

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
    /// How late a usage may be reported: at most 35 days, since what ended before is forgotten.
    pub late_window: Duration,
    /// How often the sweeper looks for what is due.
    pub sweep_every: Duration,
    /// How often the store is asked for changes that other hosts made to plans, policies and API keys. A charge notices
    /// them in any case.
    pub refresh_every: Duration,
    /// The fuel from which a decision is slow, and made on a thread of its own: ten times what the standard policy takes.
    pub slow_fuel: u64,
    /// Threads for slow decisions. With none, tasks of the runtime make them, as simulations need it.
    pub slow_workers: usize,
    /// Whether and how checkpoints are written.
    pub checkpoints: Option<CheckpointOptions>,
    /// The keys by one of which a module must be signed; `None` takes modules without a signature.
    pub policy_keys: Option<Vec<PolicyKey>>,
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
            slow_fuel: 400_000,
            slow_workers: 1,
            checkpoints: None,
            policy_keys: None,
        }
    }
}

impl Options {
    pub(crate) fn late_window_micros(&self) -> i64 {
        i64::try_from(self.late_window.as_micros()).unwrap_or(i64::MAX).min(LATE_WINDOW)
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
    pub stats: EngineStats,
    pub writes: WriteHealth,
    pub formats: Arc<Formats>,
    /// What this host counts of canaries' decisions.
    pub rollouts: Rollouts,
    /// Customers whose usage totals are behind.
    pub news: News,
    pub workers: Workers,
    pub faults: FaultLog,
    /// Whether a change of this host may be durable that is not in `catalog`.
    catalog_is_uncertain: AtomicBool,
}

impl Shared {
    pub fn new(
        store: Arc<dyn Store>,
        runtime: Arc<Runtime>,
        clock: Clock,
        options: Options,
        catalog: Catalog,
    ) -> Self {
        let workers = Workers::new(options.slow_workers, runtime.limits().stack_bytes + STACK_BYTES_BESIDE);
        Self {
            workers,
            store,
            runtime,
            clock,
            options,
            catalog: ArcSwap::from_pointee(catalog),
            gate: RwLock::new(()),
            stats: EngineStats::default(),
            writes: WriteHealth::default(),
            formats: Arc::default(),
            rollouts: Rollouts::default(),
            news: News::default(),
            faults: FaultLog::default(),
            catalog_is_uncertain: AtomicBool::new(false),
        }
    }

    /// Reads the catalog again if the stored one may be newer: other hosts change it, or a change of this one had an
    /// uncertain outcome.
    pub async fn refresh_catalog(&self) -> Result<(), EngineError> {
        if self.store.is_shared() || self.is_catalog_uncertain() {
            self.reread_catalog().await
        } else {
            Ok(())
        }
    }

    /// Reads the catalog again if the stored one is newer, whoever changed it: what a conflict asks for, on every store.
    pub async fn reread_catalog(&self) -> Result<(), EngineError> {
        if !self.is_catalog_uncertain()
            && self.store.catalog_revision().await? == self.catalog.load().revision
        {
            return Ok(());
        }
        let _gate = self.gate.write().await;
        self.read_catalog().await
    }

    /// Reads what is new in the catalog. The gate must be held for writing.
    pub async fn read_catalog(&self) -> Result<(), EngineError> {
        let known = self.catalog.load_full();
        self.put_catalog(known.updated(self.store.catalog(known.revision).await?)?);
        Ok(())
    }

    /// Puts a catalog in force that is what is stored. The gate must be held for writing.
    pub fn put_catalog(&self, catalog: Catalog) {
        self.catalog.store(Arc::new(catalog));
        self.catalog_is_uncertain.store(false, Ordering::Release);
    }

    /// To be called before a change is handed to the store: it may become durable without this host learning so.
    pub fn mark_catalog_uncertain(&self) {
        self.catalog_is_uncertain.store(true, Ordering::Release);
    }

    fn is_catalog_uncertain(&self) -> bool {
        self.catalog_is_uncertain.load(Ordering::Acquire)
    }

    /// Takes note of a write that became durable.
    pub fn write_succeeded(&self) {
        self.writes.succeeded();
    }

    /// Takes note of a write that failed, or that other writers prevented at each attempt.
    pub fn write_failed(&self) {
        self.writes.failed();
        self.stats.write_failed();
    }

    /// One entry of a journal, which must be there.
    pub async fn entry(&self, customer: &CustomerId, seq: Seq) -> Result<Arc<Entry>, EngineError> {
        let stored = self.store.entries(customer, seq.saturating_sub(1), 1).await?;
        let damaged = |error| EngineError::journal(customer, error);
        match stored.first() {
            Some(stored) if stored.seq == seq => {
                let entry =
                    Entry::parse(&stored.body).map_err(|error| damaged(FoldError::Read { seq, error }))?;
                Ok(Arc::new(entry))
            }
            found => {
                Err(damaged(FoldError::Gap { expected: seq, found: found.map_or(0, |stored| stored.seq) }))
            }
        }
    }

    /// A policy as far as it can be asked now.
    pub fn look_up_policy(
        &self,
        catalog: &Catalog,
        digest: &Digest,
        unavailable: &HashMap<Digest, String>,
    ) -> Lookup {
        match (self.runtime.loaded(digest), unavailable.get(digest)) {
            (Some(module), _) => Lookup::Ready(match catalog.class_of(digest) {
                ResourceClass::Default => module,
                class => Arc::new(module.in_class(class)),
            }),
            (None, Some(detail)) => Lookup::Unavailable(detail.clone()),
            (None, None) => Lookup::NotLoaded,
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
