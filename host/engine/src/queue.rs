//! The queue of a lane: bounded, and fair to customers. A lane takes a few jobs of each customer in round robin.
//!
//! A customer may have as many jobs waiting as there are free places left, so one that floods gets half of the queue and
//! the others still find places ("dynamic thresholds", Choudhury and Hahne, IEEE/ACM ToN 6(2), 1998, with alpha 1).
//!
//! A customer whose jobs are being decided off the lane is held: further jobs of it wait here, and count, until it is released.

use crate::error::EngineError;
use proviso_decide::command::{Reply, Request};
use proviso_ledger::model::ids::CustomerId;
use proviso_store::KeyHash;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, oneshot};

/// A request with the channel for its reply.
pub(crate) struct Job {
    pub request: Request,
    /// Of the request's idempotency key.
    pub key_hash: Option<KeyHash>,
    /// A further key that its entry takes, which must be new: of a refund, the charge and the number of the refund.
    pub guard: Option<KeyHash>,
    /// How often it was decided in vain, since another host was first.
    pub attempts: u32,
    /// Its place among the jobs of its queue, which the queue sets.
    pub arrival: u64,
    pub reply: oneshot::Sender<Result<Reply, EngineError>>,
}

impl Job {
    /// Replies. The caller may have gone.
    pub fn answer(self, reply: Result<Reply, EngineError>) {
        drop(self.reply.send(reply));
    }
}

/// Answers all jobs with the same error.
pub(crate) fn refuse(jobs: impl IntoIterator<Item = Job>, error: &EngineError) {
    for job in jobs {
        job.answer(Err(match error {
            EngineError::Store(error) => EngineError::Store(error.clone()),
            EngineError::Contention => EngineError::Contention,
            other => EngineError::Internal(other.to_string()),
        }));
    }
}

/// Jobs of one customer that are taken before the next customer's.
const QUANTUM: usize = 16;

pub(crate) struct Queue {
    capacity: usize,
    waiting: Mutex<Waiting>,
    /// Wakes the one lane that takes from here.
    ready: Notify,
}

#[derive(Default)]
struct Waiting {
    jobs: HashMap<CustomerId, VecDeque<Job>>,
    /// Customers with jobs that may be taken, in the order in which theirs are.
    order: VecDeque<CustomerId>,
    /// Customers of whom no job may be taken.
    held: HashSet<CustomerId>,
    count: usize,
    arrivals: u64,
    closed: bool,
}

impl Queue {
    pub fn new(capacity: usize) -> Self {
        Self { capacity, waiting: Mutex::default(), ready: Notify::new() }
    }

    /// Lets a job wait, or says why it may not.
    pub fn push(&self, mut job: Job) -> Result<(), EngineError> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(EngineError::ShuttingDown);
        }
        let free = self.capacity.saturating_sub(waiting.count);
        let Waiting { jobs, order, held, count, arrivals, .. } = &mut *waiting;
        job.arrival = *arrivals;
        match jobs.get_mut(&job.request.customer) {
            Some(own) if own.len() < free => own.push_back(job),
            None if free > 0 => {
                let customer = job.request.customer.clone();
                if !held.contains(&customer) {
                    order.push_back(customer.clone());
                }
                jobs.insert(customer, VecDeque::from([job]));
            }
            _ => return Err(EngineError::Overloaded),
        }
        *count += 1;
        *arrivals += 1;
        drop(waiting);
        self.ready.notify_one();
        Ok(())
    }

    /// Moves up to `most` jobs of up to `customers` customers to `taken`, once there are any; false when none will ever
    /// come. Nothing is lost when the future is dropped.
    pub async fn take(&self, most: usize, customers: usize, taken: &mut Vec<Job>) -> bool {
        loop {
            {
                let mut waiting = self.lock();
                if !waiting.order.is_empty() {
                    waiting.take(most, customers, taken);
                    return true;
                }
                if waiting.closed && waiting.count == 0 {
                    return false;
                }
            }
            self.ready.notified().await;
        }
    }

    /// As [`Queue::take`], but of those that wait already.
    pub fn take_waiting(&self, most: usize, customers: usize, taken: &mut Vec<Job>) {
        self.lock().take(most, customers, taken);
    }

    /// Lets jobs that were taken wait again, in the order in which they came.
    pub fn give_back(&self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        let Waiting { jobs: of, order, held, count, .. } = &mut *waiting;
        for job in jobs.into_iter().rev() {
            *count += 1;
            match of.get_mut(&job.request.customer) {
                Some(own) => {
                    let place = own.iter().position(|waiting| job.arrival < waiting.arrival);
                    own.insert(place.unwrap_or(own.len()), job);
                }
                None => {
                    let customer = job.request.customer.clone();
                    if !held.contains(&customer) {
                        order.push_back(customer.clone());
                    }
                    of.insert(customer, VecDeque::from([job]));
                }
            }
        }
        drop(waiting);
        self.ready.notify_one();
    }

    /// Lets no job of a customer be taken until it is [released](Self::release).
    pub fn hold(&self, customer: &CustomerId) {
        let mut waiting = self.lock();
        if waiting.held.insert(customer.clone()) && waiting.jobs.contains_key(customer) {
            waiting.order.retain(|other| other != customer);
        }
    }

    /// Lets jobs of a customer be taken again.
    pub fn release(&self, customer: &CustomerId) {
        let mut waiting = self.lock();
        if waiting.held.remove(customer) && waiting.jobs.contains_key(customer) {
            waiting.order.push_back(customer.clone());
        }
        drop(waiting);
        self.ready.notify_one();
    }

    /// Releases all: whoever held them has ended.
    pub fn release_all(&self) {
        let held: Vec<CustomerId> = self.lock().held.iter().cloned().collect();
        held.iter().for_each(|customer| self.release(customer));
    }

    /// Takes no further jobs; those that wait can still be taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self, most: usize, customers: usize, taken: &mut Vec<Job>) {
        let mut free = most;
        let mut order: VecDeque<_> = self.order.drain(..customers.min(self.order.len())).collect();
        while free > 0
            && let Some(customer) = order.pop_front()
        {
            let Some(jobs) = self.jobs.get_mut(&customer) else { continue };
            let count = jobs.len().min(QUANTUM).min(free);
            taken.extend(jobs.drain(..count));
            (free, self.count) = (free - count, self.count - count);
            if jobs.is_empty() {
                self.jobs.remove(&customer);
            } else {
                order.push_back(customer);
            }
        }
        self.order.append(&mut order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use proviso_ledger::state::Origin;

    fn job(customer: &str) -> Job {
        let request = Request {
            customer: customer.parse().unwrap(),
            command: Command::Read,
            origin: Origin::default(),
        };
        Job { request, key_hash: None, guard: None, attempts: 0, arrival: 0, reply: oneshot::channel().0 }
    }

    fn flood(queue: &Queue, customer: &str) -> usize {
        (0..).take_while(|_| queue.push(job(customer)).is_ok()).count()
    }

    async fn take(queue: &Queue, most: usize) -> Vec<String> {
        let mut taken = Vec::new();
        assert!(queue.take(most, usize::MAX, &mut taken).await);
        taken.into_iter().map(|job| job.request.customer.to_string()).collect()
    }

    #[tokio::test]
    async fn a_flood_leaves_places_for_others() {
        let queue = Queue::new(1000);
        assert_eq!(flood(&queue, "flood"), 500);
        assert_eq!(flood(&queue, "another"), 250);
        for other in 0..100 {
            assert!(queue.push(job(&format!("c{other}"))).is_ok());
        }
        assert!(matches!(queue.push(job("flood")), Err(EngineError::Overloaded)));
        // Whoever has little waiting is among the next to be served.
        let served = take(&queue, 256).await;
        assert_eq!(served.iter().filter(|name| name.starts_with('c')).count(), 100);
        assert_eq!(served.len(), 256);
    }

    #[tokio::test]
    async fn a_customers_jobs_keep_their_order() {
        let queue = Queue::new(1000);
        for number in 0..100_u8 {
            let customer = if number % 2 == 0 { "a" } else { "b" };
            queue.push(Job { key_hash: Some([number; 16]), ..job(customer) }).unwrap();
        }
        let mut taken = Vec::new();
        while taken.len() < 100 {
            assert!(queue.take(7, 1, &mut taken).await);
        }
        for parity in [0, 1] {
            let numbers = taken.iter().filter_map(|job| Some(job.key_hash?[0])).filter(|n| n % 2 == parity);
            assert!(numbers.is_sorted());
        }
    }

    #[tokio::test]
    async fn who_is_held_waits_in_order() {
        let queue = Queue::new(1000);
        let numbered = |number: u8, customer| Job { key_hash: Some([number; 16]), ..job(customer) };
        let numbers = |jobs: &[Job]| jobs.iter().map(|job| job.key_hash.unwrap()[0]).collect::<Vec<_>>();
        for number in 0..40 {
            queue.push(numbered(number, "a")).unwrap();
        }
        let (mut first, mut second) = (Vec::new(), Vec::new());
        queue.take_waiting(4, 9, &mut first);
        queue.take_waiting(4, 9, &mut second);
        queue.hold(&"a".parse().unwrap());
        queue.push(numbered(40, "a")).unwrap();
        queue.push(job("b")).unwrap();
        assert_eq!(take(&queue, 100).await, ["b"]);
        // Whichever comes back first, what came first goes first.
        queue.give_back(second);
        queue.give_back(first);
        queue.push(job("b")).unwrap();
        assert_eq!(take(&queue, 100).await, ["b"]);
        // A closed queue is not at its end before they were taken, too.
        queue.close();
        let mut taken = Vec::new();
        let waits = queue.take(100, 9, &mut taken);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(10), waits).await.is_err());
        queue.release(&"a".parse().unwrap());
        while taken.len() < 41 {
            assert!(queue.take(100, 9, &mut taken).await);
        }
        assert_eq!(numbers(&taken), (0..41).collect::<Vec<_>>());
        assert!(!queue.take(9, 9, &mut Vec::new()).await);
    }

    #[tokio::test]
    async fn a_closed_queue_gives_what_it_has() {
        let queue = Queue::new(1000);
        queue.push(job("a")).unwrap();
        queue.close();
        assert!(matches!(queue.push(job("a")), Err(EngineError::ShuttingDown)));
        assert_eq!(take(&queue, 9).await, ["a"]);
        assert!(!queue.take(9, 9, &mut Vec::new()).await);
    }

    #[tokio::test]
    async fn a_full_queue_turns_everyone_away() {
        let queue = Queue::new(4);
        for customer in ["a", "b", "c", "d"] {
            queue.push(job(customer)).unwrap();
        }
        assert!(matches!(queue.push(job("e")), Err(EngineError::Overloaded)));
        assert_eq!(take(&queue, 1).await, ["a"]);
        assert!(queue.push(job("e")).is_ok());
    }
}
