//! Sends each request to the lane of its customer, and runs the lanes.

use crate::{
    error::EngineError,
    idempotency::{key_hash, refund_hash},
    lane,
    queue::{Job, Queue},
    shared::Shared,
};
use proviso_decide::command::{Command, Reply, Request};
use proviso_ledger::model::ids::CustomerId;
use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{sync::oneshot, task::JoinHandle};

/// The lanes with their queues. When it is dropped, the lanes finish what waits and end.
pub(crate) struct Dispatcher {
    queues: Vec<Arc<Queue>>,
    lanes: Mutex<Vec<JoinHandle<()>>>,
}

impl Dispatcher {
    /// Starts the lanes.
    pub fn start(shared: &Arc<Shared>) -> Self {
        let capacity = shared.options.queue.max(1);
        let queues: Vec<_> =
            (0..shared.options.lanes.get()).map(|_| Arc::new(Queue::new(capacity))).collect();
        let lanes =
            queues.iter().map(|queue| tokio::spawn(lane::keep(shared.clone(), queue.clone()))).collect();
        Self { queues, lanes: Mutex::new(lanes) }
    }

    /// Queues a request and waits for its reply. Once it is queued it is carried out, whether or not anyone waits.
    pub async fn execute(&self, request: Request) -> Result<Reply, EngineError> {
        let (reply, answer) = oneshot::channel();
        let key_hash = request.origin.idempotency.as_ref().map(|(key, _)| key_hash(key));
        let guard = match &request.command {
            Command::Refund(of, _) => Some(refund_hash(of.id(), of.next_number())),
            _ => None,
        };
        self.queue(&request.customer)?.push(Job {
            request,
            key_hash,
            guard,
            attempts: 0,
            arrival: 0,
            reply,
        })?;
        answer.await.map_err(|_| EngineError::Internal("a lane dropped a request".to_owned()))?
    }

    /// Takes no further requests, and waits until those that were taken are answered.
    pub async fn close(&self) {
        self.queues.iter().for_each(|queue| queue.close());
        let lanes = std::mem::take(&mut *self.lanes.lock().unwrap_or_else(PoisonError::into_inner));
        for lane in lanes {
            let _ = lane.await;
        }
    }

    fn queue(&self, customer: &CustomerId) -> Result<&Queue, EngineError> {
        // The same lane on every host and after every start, so that a test can be replayed.
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(customer);
        let place = hash.checked_rem(self.queues.len() as u64).and_then(|place| usize::try_from(place).ok());
        let queue = place.and_then(|place| self.queues.get(place));
        queue.map(Arc::as_ref).ok_or_else(|| EngineError::Internal("an engine without lanes".to_owned()))
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.queues.iter().for_each(|queue| queue.close());
    }
}
