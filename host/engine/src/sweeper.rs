//! The sweeper: finds customers that something is due for and sends them through their lanes, where a request would
//! have found the same. A customer that fails is tried again later and holds up nobody else.

use crate::{dispatcher::Dispatcher, error::EngineError, shared::Shared};
use futures_util::future::join_all;
use proviso_decide::command::{Command, Request};
use proviso_ledger::model::ids::CustomerId;
use proviso_ledger::state::Origin;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Mutex, time::Instant};
use tracing::{debug, warn};

/// Customers that are looked up at a time, beside those that wait for another attempt.
const PAGE: usize = 256;
/// How long a page is this host's alone; a host that dies in between delays its customers by this much.
const CLAIM: Duration = Duration::from_secs(30);
/// After the first failure; twice as long after each further one...
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
/// ...up to this.
const MAX_BACK_OFF: Duration = Duration::from_secs(300);

pub(crate) struct Sweeper {
    shared: Arc<Shared>,
    dispatcher: Arc<Dispatcher>,
    /// Held while a sweep is under way.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Customers whose last sweep failed.
    failed: HashMap<CustomerId, Retry>,
    /// The customer that was last written for to see whether writing works again.
    probed: Option<CustomerId>,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    failures: u32,
    not_before: Instant,
}

impl Sweeper {
    pub fn new(shared: Arc<Shared>, dispatcher: Arc<Dispatcher>) -> Self {
        Self { shared, dispatcher, state: Mutex::default() }
    }

    /// Runs until it is aborted.
    pub async fn run(self: Arc<Self>, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            if let Err(error) = self.sweep().await {
                warn!(%error, "the sweep stopped early; the next one goes on");
            }
        }
    }

    /// Writes all that is due by now, for every customer but those that failed a short while ago.
    ///
    /// # Errors
    /// The store's, when it can't say what is due. What was not reached is found by the next sweep.
    pub async fn sweep(&self) -> Result<(), EngineError> {
        let mut state = self.state.lock().await;
        if self.shared.writes.failing().is_some() {
            self.probe(&mut state).await?;
        }
        loop {
            // Those come first, since nothing is due for longer than what fails.
            let waiting = state.waiting(Instant::now());
            let limit = PAGE.saturating_add(waiting.len());
            let found = u32::try_from(limit).unwrap_or(u32::MAX);
            let due = self.shared.store.due(self.shared.clock.now(), found, CLAIM).await?;
            let is_all = due.len() < limit;
            if is_all {
                let due: HashSet<_> = due.iter().collect();
                state.failed.retain(|customer, _| due.contains(customer));
            }
            let ready: Vec<_> = due.into_iter().filter(|customer| !waiting.contains(customer)).collect();
            for page in ready.chunks(PAGE) {
                self.sweep_page(page, &mut state).await?;
            }
            if is_all {
                return Ok(());
            }
        }
    }

    async fn sweep_page(&self, page: &[CustomerId], state: &mut State) -> Result<(), EngineError> {
        // All at once, so that they share commits. A lane writes the next due time, so none is found twice.
        let replies = join_all(page.iter().map(|customer| self.sweep_one(customer.clone()))).await;
        for (customer, reply) in page.iter().zip(replies) {
            match reply {
                Ok(()) => drop(state.failed.remove(customer)),
                Err(EngineError::ShuttingDown) => return Err(EngineError::ShuttingDown),
                Err(error) => {
                    self.shared.stats.sweep_failed();
                    let retry = state.failure(customer, Instant::now());
                    if retry.failures == 1 {
                        warn!(%customer, %error, "what is due can't be written; it is tried again");
                    } else {
                        debug!(%customer, %error, failures = retry.failures, "what is due still can't be written");
                    }
                }
            }
        }
        Ok(())
    }

    async fn sweep_one(&self, customer: CustomerId) -> Result<(), EngineError> {
        self.dispatcher
            .execute(Request { customer, command: Command::Sweep, origin: Origin::default() })
            .await?;
        Ok(())
    }

    /// While writes fail, writes for one customer after another, since a host that is taken out of service gets no requests
    /// that would show that it works again. A sweep of a customer for whom nothing is due writes a due time.
    async fn probe(&self, state: &mut State) -> Result<(), EngineError> {
        let next = self.shared.store.customers(state.probed.as_ref(), 1).await?.into_iter().next();
        let was_first = state.probed.is_none();
        state.probed = next.map(|row| row.customer);
        match &state.probed {
            // The lane takes note of what it comes to.
            Some(customer) => {
                if let Err(error) = self.sweep_one(customer.clone()).await {
                    debug!(%customer, %error, "writing still fails");
                }
            }
            // Without customers there is nothing to try it with: the next change of the catalog will tell.
            None if was_first => self.shared.writes.succeeded(),
            None => {}
        }
        Ok(())
    }
}

impl State {
    /// The customers that are not to be tried again yet.
    fn waiting(&self, now: Instant) -> HashSet<CustomerId> {
        let waiting = self.failed.iter().filter(|(_, retry)| now < retry.not_before);
        waiting.map(|(customer, _)| customer.clone()).collect()
    }

    /// Takes note of a failure; says when to try again.
    fn failure(&mut self, customer: &CustomerId, now: Instant) -> Retry {
        let failures = self.failed.get(customer).map_or(0, |retry| retry.failures).saturating_add(1);
        let factor = 1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX);
        let retry =
            Retry { failures, not_before: now + FIRST_BACK_OFF.saturating_mul(factor).min(MAX_BACK_OFF) };
        self.failed.insert(customer.clone(), retry);
        retry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_fails_is_tried_again_ever_later() {
        let (mut state, customer): (_, CustomerId) = (State::default(), "acme".parse().unwrap());
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let now = Instant::now();
            let retry = state.failure(&customer, now);
            assert_eq!(retry.not_before - now, Duration::from_secs(seconds));
            assert!(state.waiting(now).contains(&customer));
            assert!(!state.waiting(retry.not_before).contains(&customer));
        }
        for _ in 0..100 {
            state.failure(&customer, Instant::now());
        }
        assert_eq!(state.failed[&customer].failures, 111);
    }
}
