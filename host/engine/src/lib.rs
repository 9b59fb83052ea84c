//! The engine: the one way to write (load, decide, commit, reply) and the use cases around it.
//!
//! In come commands and questions in the ledger's words; out come durable outcomes. It joins the pure ledger with the
//! policies that decide and the store that keeps, and knows nothing of HTTP, SQL or Wasm itself.

pub mod catalog;
mod clock;
pub mod command;
mod decide;
mod error;
mod keys;
mod lane;
mod plans;
mod policies;
mod reads;
mod shared;
mod sweeper;
mod terms;
mod verify;

pub use clock::Clock;
pub use error::EngineError;
pub use plans::PlanChange;
pub use policies::Uploaded;
pub use proviso_store::{StoreError, StoredRequest};
pub use reads::{CustomerSummary, EntitlementAnswer, GroupBy, LedgerPage, UsageGroup};
pub use shared::Options;
pub use terms::TermsInput;
pub use verify::{Difference, Verification, verify};

use crate::{
    catalog::Catalog,
    command::{Command, Reply, Request},
    shared::Shared,
};
use proviso_ledger::{
    ids::{CustomerId, Digest, IdempotencyKey},
    state::CustomerState,
    time::Timestamp,
};
use proviso_policy::Runtime;
use proviso_store::{ReferenceChange, Store};
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::{AbortHandle, JoinHandle},
};

/// A running engine. Dropping it without [`Engine::close`] abandons what waits.
pub struct Engine {
    shared: Arc<Shared>,
    lanes: Mutex<Vec<mpsc::Sender<lane::Job>>>,
    hasher: RandomState,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    sweeper: OnceLock<AbortHandle>,
}

impl Engine {
    /// Starts lanes and sweeper over a store. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub async fn start(
        store: Arc<dyn Store>,
        runtime: Arc<Runtime>,
        clock: Clock,
        options: Options,
    ) -> Result<Arc<Self>, EngineError> {
        let catalog = Catalog::read(store.reference().await?)?;
        let shared = Arc::new(Shared::new(store, runtime, clock, options.clone(), catalog));
        let (mut lanes, mut tasks) = (Vec::new(), Vec::new());
        for _ in 0..options.lanes.get() {
            let (sender, receiver) = mpsc::channel(options.queue.max(1));
            lanes.push(sender);
            tasks.push(tokio::spawn(lane::run(shared.clone(), receiver)));
        }
        let engine = Arc::new(Self {
            shared,
            lanes: Mutex::new(lanes),
            hasher: RandomState::new(),
            tasks: Mutex::new(tasks),
            sweeper: OnceLock::new(),
        });
        let sweeper = tokio::spawn(sweeper::run(Arc::downgrade(&engine), options.sweep_every));
        engine.sweeper.get_or_init(|| sweeper.abort_handle());
        Ok(engine)
    }

    /// Carries a request out and answers once that is durable.
    ///
    /// # Errors
    /// See [`EngineError`]. A refusal of a charge is no error: it is an entry.
    pub async fn execute(&self, request: Request) -> Result<Reply, EngineError> {
        let (reply, answer) = oneshot::channel();
        let lane = self.lane(&request.customer)?;
        lane.try_send(lane::Job { request, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => EngineError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => EngineError::ShuttingDown,
        })?;
        answer.await.map_err(|_| EngineError::Internal("a lane dropped a request".to_owned()))?
    }

    /// The customer's state now, with all that is due written.
    ///
    /// # Errors
    /// An unknown customer, or the store's.
    pub async fn state(&self, customer: &CustomerId) -> Result<Arc<CustomerState>, EngineError> {
        let request = Request { customer: customer.clone(), command: Command::Read, idempotency: None };
        match self.execute(request).await? {
            Reply::State(state) => Ok(state),
            _ => Err(EngineError::Internal("a read that answers with no state".to_owned())),
        }
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Plans, policies and API keys as they are now.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.shared.catalog.load_full()
    }

    /// Durable entries and batches since the start.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        self.shared.totals()
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// The store's.
    pub async fn ping(&self) -> Result<(), EngineError> {
        Ok(self.shared.store.ping().await?)
    }

    /// Finishes what was accepted, then lets go of the database. Later requests fail.
    pub async fn close(&self) {
        if let Some(sweeper) = self.sweeper.get() {
            sweeper.abort();
        }
        // Without senders a lane ends once it has answered what was sent.
        lock(&self.lanes).clear();
        let lanes = std::mem::take(&mut *lock(&self.tasks));
        for lane in lanes {
            let _ = lane.await;
        }
        self.shared.store.close().await;
    }

    /// Changes the catalog between two decisions. `make` is handed the time at which the change takes effect.
    async fn change<T>(
        &self,
        make: impl Fn(&Catalog, Timestamp) -> Result<(Vec<ReferenceChange>, T), EngineError>,
    ) -> Result<T, EngineError> {
        match self.change_once(None, make).await? {
            Changed::Made(value) => Ok(value),
            Changed::Replayed(_) => Err(EngineError::Internal("a replay without a key".to_owned())),
        }
    }

    /// Changes the catalog once for an idempotency key: the answer is kept in the same transaction.
    async fn change_once<T>(
        &self,
        once: Option<Once<'_, T>>,
        make: impl Fn(&Catalog, Timestamp) -> Result<(Vec<ReferenceChange>, T), EngineError>,
    ) -> Result<Changed<T>, EngineError> {
        let _gate = self.shared.gate.write().await;
        // Another host may have changed it in between: its rows win, and this change is made anew on top of them.
        for _ in 0..8 {
            let at = self.shared.clock.now();
            if let Some(stored) = self.answered_change(once.as_ref()).await? {
                return Ok(Changed::Replayed(stored));
            }
            let (changes, value) = make(&self.shared.catalog.load(), at)?;
            let request = once.as_ref().map(|once| once.stored(&value, at));
            if changes.is_empty() && request.is_none() {
                return Ok(Changed::Made(value));
            }
            let commit = self.shared.store.change_reference(changes, request).await?;
            let catalog = Catalog::read(self.shared.store.reference().await?)?;
            self.shared.catalog.store(Arc::new(catalog));
            if commit == proviso_store::Commit::Durable {
                return Ok(Changed::Made(value));
            }
        }
        Err(EngineError::Contention)
    }

    /// The answer to an earlier change with this key.
    async fn answered_change<T>(
        &self,
        once: Option<&Once<'_, T>>,
    ) -> Result<Option<StoredRequest>, EngineError> {
        let Some(once) = once else { return Ok(None) };
        match self.shared.store.request(once.key_hash()).await? {
            Some(stored) if stored.request_hash != once.request.0 => Err(EngineError::IdempotencyKeyReused),
            stored => Ok(stored),
        }
    }

    fn lane(&self, customer: &CustomerId) -> Result<mpsc::Sender<lane::Job>, EngineError> {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(customer.as_str().as_bytes());
        let lanes = lock(&self.lanes);
        let count = lanes.len() as u64;
        let place = hasher.finish().checked_rem(count).and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| lanes.get(place)).cloned().ok_or(EngineError::ShuttingDown)
    }
}

/// A change to be made once for an idempotency key, and how its answer is rendered, so that a repeat gets the same.
pub struct Once<'a, T> {
    /// The caller's key.
    pub key: IdempotencyKey,
    /// The digest of the request, with its route.
    pub request: Digest,
    /// The HTTP status and body of the answer.
    pub render: &'a (dyn Fn(&T) -> (u16, String) + Send + Sync),
}

/// How such a change ended.
#[derive(Debug)]
pub enum Changed<T> {
    /// It was made.
    Made(T),
    /// It was made before, and this was answered.
    Replayed(StoredRequest),
}

impl<T> Once<'_, T> {
    fn key_hash(&self) -> proviso_store::KeyHash {
        lane::key_hash(&self.key)
    }

    fn stored(&self, value: &T, at: Timestamp) -> StoredRequest {
        let (status, body) = (self.render)(value);
        StoredRequest { key_hash: self.key_hash(), request_hash: self.request.0, at, status, body }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
