//! A running engine: what it consists of, how it starts and ends. Its use cases are in the files named after them.

use crate::{
    catalog::Catalog,
    checkpoint,
    clock::Clock,
    dispatcher::Dispatcher,
    error::EngineError,
    formats,
    guesses::Guesses,
    refresh,
    replay::Backtests,
    report::Reports,
    rollout,
    rollup::roller,
    shared::{Options, Shared},
    stats::EngineStats,
    sweeper::Sweeper,
    tasks::Tasks,
};
use proviso_decide::command::{Command, Reply, Request, UsageRequest};
use proviso_ledger::{
    model::ids::{CustomerId, GrantId, LeaseId, ReservationId, TopUpId},
    state::{CustomerState, Origin},
};
use proviso_policy::Runtime;
use proviso_store::{Store, StoreError};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::Semaphore, task::JoinSet};

/// Once writes have failed for this long, the host is not ready.
const MAX_FAILING: Duration = Duration::from_secs(10);

/// Questions that are answered at once; the rest wait, first come first served.
const CONCURRENT_QUESTIONS: usize = 2;

/// A running engine. Dropping it without [`Engine::close`] abandons changes of the catalog that are under way.
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) dispatcher: Arc<Dispatcher>,
    sweeper: Arc<Sweeper>,
    /// Changes of the catalog that are under way.
    pub(crate) changes: Tasks,
    pub(crate) guesses: Guesses,
    /// Held by those who ask policies questions that write nothing.
    pub(crate) questions: Arc<Semaphore>,
    /// Usage reports that have further pages.
    pub(crate) reports: Reports,
    /// Backtests that were asked for.
    pub(crate) backtests: Backtests,
    /// What runs beside the lanes; aborted when it is dropped.
    background: Mutex<JoinSet<()>>,
}

impl Engine {
    /// Starts lanes, sweeper and refresher over a store. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the catalog can't be read, or this host can't say that it is alive.
    pub async fn start(
        store: Arc<dyn Store>,
        runtime: Arc<Runtime>,
        clock: Clock,
        options: Options,
    ) -> Result<Arc<Self>, EngineError> {
        let catalog = Catalog::default().updated(store.catalog(0).await?)?;
        let (sweep_every, refresh_every) = (options.sweep_every, options.refresh_every);
        let shared = Arc::new(Shared::new(store, runtime, clock, options, catalog));
        shared.formats.renew(&*shared.store).await?;
        let dispatcher = Arc::new(Dispatcher::start(&shared));
        let sweeper = Arc::new(Sweeper::new(shared.clone(), dispatcher.clone()));
        let mut background = JoinSet::new();
        background.spawn(sweeper.clone().run(sweep_every));
        background.spawn(rollout::run(shared.clone()));
        background.spawn(refresh::run(shared.clone(), refresh_every));
        background.spawn(formats::run(shared.formats.clone(), shared.store.clone()));
        background.spawn(roller::run(shared.clone()));
        if let Some(options) = shared.options.checkpoints.clone() {
            background.spawn(checkpoint::run(shared.clone(), options));
        }
        Ok(Arc::new(Self {
            shared,
            dispatcher,
            sweeper,
            changes: Tasks::new(),
            guesses: Guesses::default(),
            questions: Arc::new(Semaphore::new(CONCURRENT_QUESTIONS)),
            reports: Reports::default(),
            backtests: Backtests::default(),
            background: Mutex::new(background),
        }))
    }

    /// Carries a request out and answers once that is durable. Once it waits for its lane it is carried out, whether or not
    /// the caller still waits.
    ///
    /// # Errors
    /// See [`EngineError`]. A refusal of a charge is no error: it is an entry.
    pub async fn execute(&self, request: Request) -> Result<Reply, EngineError> {
        let (customer, asked) = (request.customer.clone(), Asked::from(&request.command));
        match self.dispatcher.execute(request).await {
            Ok(reply) => Ok(reply),
            Err(error) => self.explained(&customer, asked, error).await,
        }
    }

    /// The customer's state now, with all that is due written.
    ///
    /// # Errors
    /// An unknown customer, or the store's.
    pub async fn state(&self, customer: &CustomerId) -> Result<Arc<CustomerState>, EngineError> {
        let request =
            Request { customer: customer.clone(), command: Command::Read, origin: Origin::default() };
        match self.dispatcher.execute(request).await? {
            Reply::State(state) => Ok(state),
            _ => Err(EngineError::Internal("a read that answers with no state".to_owned())),
        }
    }

    /// Writes all that is due by now, as the sweeper does from time to time.
    ///
    /// # Errors
    /// The store's. A customer that fails is none: it is tried again later.
    pub async fn sweep(&self) -> Result<(), EngineError> {
        self.sweeper.sweep().await
    }

    /// Writes a checkpoint if one is due and no other host is at it, as the host does from time to time. Returns its number.
    ///
    /// # Errors
    /// The store's. It is tried again later.
    pub async fn checkpoint(&self) -> Result<Option<u64>, EngineError> {
        match &self.shared.options.checkpoints {
            Some(options) => checkpoint::write_due(&self.shared, options).await,
            None => Ok(None),
        }
    }

    /// Runs what goes on beside the lanes until it ends, or the engine is closed.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        while background.try_join_next().is_some() {}
        background.spawn(work);
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

    /// Counts since the start.
    #[must_use]
    pub fn stats(&self) -> &EngineStats {
        &self.shared.stats
    }

    /// Whether the database answers, and what is written becomes durable.
    ///
    /// # Errors
    /// The store's; [`StoreError::Unavailable`] when no write has succeeded for 10 seconds in which some failed.
    pub async fn check_ready(&self) -> Result<(), EngineError> {
        self.shared.store.ping().await?;
        match self.shared.writes.failing() {
            Some(failing) if failing.lasting >= MAX_FAILING => {
                let (failures, seconds) = (failing.failures, failing.lasting.as_secs());
                let detail = format!("{failures} writes failed in {seconds} s, and none succeeded");
                Err(StoreError::Unavailable { detail }.into())
            }
            _ => Ok(()),
        }
    }

    /// Finishes what was accepted, then lets go of the database. Later requests fail.
    pub async fn close(&self) {
        self.background.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        self.changes.close().await;
        self.dispatcher.close().await;
        self.shared.store.close().await;
    }
}

/// What of a request decides how its refusal is told.
pub(crate) enum Asked {
    Check(Box<UsageRequest>),
    Close(ReservationId),
    Lease(LeaseId),
    Void(GrantId),
    TopUp(TopUpId),
    Other,
}

impl From<&Command> for Asked {
    fn from(command: &Command) -> Self {
        match command.unconditional() {
            Command::Check(usage) => Self::Check(usage.clone()),
            Command::Commit(id, _) | Command::Release(id) | Command::Extend(id, _) => Self::Close(*id),
            Command::ExtendLease(id, ..) | Command::CloseLease(id) => Self::Lease(*id),
            Command::Void(id) => Self::Void(*id),
            Command::PayTopUp(id, _) | Command::DeclineTopUp(id, _) => Self::TopUp(*id),
            _ => Self::Other,
        }
    }
}
