//! Backtests that a host runs for its callers: one at a time, the others wait their turn; each at most at half the pace that one core
//! would allow, so that what customers ask goes first. Jobs live in this host's memory alone: another host does not know them, and
//! a restart forgets them.

use super::backtest::{BacktestOf, BacktestOptions, CandidateModule, backtest};
use crate::{engine::Engine, error::EngineError};
use proviso_decide::{DecideError, replay::backtest::Report};
use proviso_ledger::model::{ids::Name, time::Timestamp};
use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Semaphore;

/// Jobs that may wait.
const MOST_WAITING: usize = 8;
/// Jobs that are kept once they have ended, the newest.
const MOST_KEPT: usize = 16;

/// How far a job is.
#[derive(Debug, Clone)]
pub enum BacktestStatus {
    /// Others go first.
    Waiting,
    /// Under way: customers that are done, and entries that were followed.
    Running(u64, u64),
    /// Done.
    Done(Arc<Report>),
    /// It can't be done.
    Failed(Arc<EngineError>),
}

/// A backtest that was asked for.
#[derive(Debug)]
pub struct BacktestJob {
    /// Its id, such as `backtest_3`.
    pub id: Name,
    /// The policy whose version is tried.
    pub policy: Name,
    /// The version.
    pub version: u32,
    /// When it was asked for.
    pub created_at: Timestamp,
    status: Mutex<BacktestStatus>,
}

impl BacktestJob {
    /// How far it is.
    #[must_use]
    pub fn status(&self) -> BacktestStatus {
        self.lock().clone()
    }

    fn put(&self, status: BacktestStatus) {
        *self.lock() = status;
    }

    fn has_ended(&self) -> bool {
        matches!(*self.lock(), BacktestStatus::Done(_) | BacktestStatus::Failed(_))
    }

    fn lock(&self) -> MutexGuard<'_, BacktestStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The jobs of a host.
#[derive(Debug)]
pub(crate) struct Backtests {
    jobs: Mutex<Jobs>,
    turn: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Jobs {
    /// How many there were.
    count: u64,
    /// Oldest first.
    known: VecDeque<Arc<BacktestJob>>,
}

impl Default for Backtests {
    fn default() -> Self {
        Self { jobs: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }
    }
}

impl Backtests {
    fn add(&self, policy: Name, version: u32, at: Timestamp) -> Result<Arc<BacktestJob>, EngineError> {
        let mut jobs = self.lock();
        let under_way = jobs.known.iter().filter(|job| !job.has_ended()).count();
        if under_way > MOST_WAITING {
            return Err(EngineError::Overloaded);
        }
        jobs.count = jobs.count.saturating_add(1);
        let id = format!("backtest_{}", jobs.count).parse();
        let id = id.map_err(|_| EngineError::Internal("a backtest's id is no name".to_owned()))?;
        let status = Mutex::new(BacktestStatus::Waiting);
        let job = Arc::new(BacktestJob { id, policy, version, created_at: at, status });
        jobs.known.push_back(job.clone());
        let mut ended = jobs.known.iter().filter(|job| job.has_ended()).count();
        jobs.known.retain(|job| {
            let goes = ended > MOST_KEPT && job.has_ended();
            ended = ended.saturating_sub(usize::from(goes));
            !goes
        });
        Ok(job)
    }

    fn find(&self, id: &Name) -> Option<Arc<BacktestJob>> {
        self.lock().known.iter().find(|job| job.id == *id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Begins to try a version, deleted or not, on recorded journals.
    ///
    /// # Errors
    /// An unknown policy, version, customer or plan; [`EngineError::Overloaded`] when as many wait as may.
    pub async fn start_backtest(
        &self,
        (policy, version): (Name, u32),
        settings: Option<serde_json::Value>,
        of: BacktestOf,
        (from, to): (Option<Timestamp>, Option<Timestamp>),
    ) -> Result<Arc<BacktestJob>, EngineError> {
        let catalog = self.catalog();
        if !catalog.policies.contains_key(&policy) {
            return Err(EngineError::PolicyNotFound(policy));
        }
        if catalog.version(&policy, version).is_none() {
            return Err(EngineError::VersionNotFound(policy, version));
        }
        match &of {
            BacktestOf::Customer(customer) => drop(self.state(customer).await?),
            BacktestOf::Plan(plan) if !catalog.plans.contains_key(plan) => {
                return Err(DecideError::PlanNotFound(plan.clone()).into());
            }
            BacktestOf::Plan(_) | BacktestOf::Policy(_) => {}
        }
        let job = self.backtests.add(policy.clone(), version, self.clock().now())?;
        let options = BacktestOptions {
            candidate: CandidateModule::Version(policy, version),
            settings,
            of,
            from,
            to,
            jobs: NonZeroUsize::MIN,
            is_paced: true,
        };
        let (store, runtime) = (self.shared.store.clone(), self.shared.runtime.clone());
        let (turn, running) = (self.backtests.turn.clone(), job.clone());
        self.spawn(async move {
            // Never closed.
            let Ok(_turn) = turn.acquire().await else { return };
            running.put(BacktestStatus::Running(0, 0));
            let progress = |so_far: &Report| {
                running.put(BacktestStatus::Running(so_far.customers, so_far.entries));
            };
            let ended = match backtest(store, runtime, options, progress).await {
                Ok(report) => BacktestStatus::Done(Arc::new(report)),
                Err(error) => BacktestStatus::Failed(Arc::new(error)),
            };
            running.put(ended);
        });
        Ok(job)
    }

    /// A backtest that this host was asked for and still knows.
    ///
    /// # Errors
    /// [`EngineError::BacktestNotFound`].
    pub fn backtest_job(&self, id: &Name) -> Result<Arc<BacktestJob>, EngineError> {
        self.backtests.find(id).ok_or(EngineError::BacktestNotFound)
    }
}
